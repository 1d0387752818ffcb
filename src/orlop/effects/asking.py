"""Whom a tool may ask in the middle of a call: the kernel says so for each call, in its context."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TypeAlias

from orlop.wire import mcp

Asker: TypeAlias = Callable[[str, mcp.Elicitation], Awaitable[Mapping[str, object]]]
"""Puts a server's question to a person; gives the `ElicitResult`."""

ASKER: ContextVar[Asker | None] = ContextVar("asker", default=None)
"""None: nobody can be asked, and what a server wants to know is declined."""


async def ask(
    asker: Asker | None, server: str, asked: mcp.Elicitation | None
) -> Mapping[str, object]:
    if asker is None or asked is None:
        return mcp.DECLINED
    return await asker(server, asked)
