"""What a source of tools offers: an MCP server's tools, an OpenAPI document's operations.

Whoever may change a description at will gives orders to the models that read it, so what is found
is handed to whoever was given as `Teller`, and used only once he has agreed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orlop.abi.cards import ToolCard
from orlop.machine.tasks import TaskOwner


class Acting(Protocol):
    """A tool, as the kernel's catalog takes it."""

    @property
    def card(self) -> ToolCard: ...

    async def call(
        self, arguments: Mapping[str, object], key: str, deadline_s: float
    ) -> object: ...

    async def happened(self, key: str) -> bool | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One tool that a source offers, or says that it does.  wrong: why it can't be used."""

    tool: Acting | None
    name: str
    """With its source's name in front; `plain`: without."""
    plain: str
    manifest: dict[str, object]
    """All that its source says of it; its digest is over this."""
    digest: str
    wrong: str = ""


class Source(Protocol):
    """wanted: of all that it offers, the only ones that are used; empty: all.  pins: digests that
    were agreed beforehand.  Both by plain names."""

    name: str
    reason: str
    """Why nothing new is known of it; empty: the last look went well."""

    @property
    def kind(self) -> str:
        """As a person calls it, and how to mend it."""
        ...

    @property
    def fix(self) -> str: ...

    @property
    def lost(self) -> str:
        """Why its tools can't be called, those that are known too; empty: they can."""
        ...

    @property
    def wanted(self) -> Sequence[str]: ...

    @property
    def pins(self) -> Mapping[str, str]: ...

    async def run(self, found: "Teller", tasks: TaskOwner) -> None:
        """Look again and again, until cancelled.  tasks: who owns what that starts."""
        ...


Teller = Callable[[Source, Sequence[Found]], Awaitable[None]]
"""Told all that a source offers now; what is missing has gone."""
