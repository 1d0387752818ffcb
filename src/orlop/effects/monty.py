"""`python`: a tool that runs code which a model has written, in an interpreter that can do nothing.

It has no files, no network, no clock and no processes: only what it is given, and the tools that
orlop.toml names, each of which is a call of its process through the door.  Each run is in a worker
process of its own time and memory; nothing stays from one to the next.
"""

import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, DeviceFailed, KernelError, Misconfigured, ToolFailed
from orlop.abi.limits import TOOL_OUTPUT_BYTES_MAX
from orlop.machine.ranges import Limit, Many

NAME: Final = "python"

AskTool: TypeAlias = Callable[[str, Mapping[str, object]], Awaitable[object]]
"""Calls a tool in the name of the process that runs the code.  Raises `KernelError`."""

SAID_CHARS_MAX: Final = 4_000
CHECKOUT_S: Final = 30.0
DEPTH_MAX: Final = 200
ASKED_MAX: Final = 200
"""Calls of tools in one run, names that are looked up among them."""

DESCRIPTION: Final = """Run Python code; get the value of its last expression, and what it printed.
The code sees only `inputs`, the standard library's harmless parts (json, re, math, datetime), and
these functions, which are awaited: {tools}. No files, no network, no other modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeConfig:
    """The `[code]` table of orlop.toml: a tool `python` for code that models write."""

    enabled: bool = False
    """Offer it.  Needs `pip install 'orlop[sandbox]'`."""
    tools: tuple[str, ...] = ()
    """Tools that the code may call, as functions; those that are `pure` only, since code that is
    cut off runs again from its beginning.  A `.` in a tool's name is a `_` in the function's."""
    run_s: Limit = 10.0
    """How long the code may compute; while it waits for a tool, nothing counts."""
    memory_mib: Many = 256
    """What it may hold."""
    printed_bytes: Many = 65_536
    """What it may print."""
    workers: Many = 4
    """Runs at once."""
    timeout_s: Limit = 120.0
    """A run that takes longer altogether is ended."""


PARAMETERS: Final[dict[str, object]] = {
    "type": "object",
    "required": ["code"],
    "additionalProperties": False,
    "properties": {"code": {"type": "string"}, "inputs": {"type": "object"}},
}

RESULTS: Final[dict[str, object]] = {
    "type": "object",
    "required": ["value", "printed"],
    "properties": {"printed": {"type": "string"}},
}


class MontyTool:
    """Raises `Misconfigured` where the interpreter is not installed."""

    def __init__(self, config: CodeConfig) -> None:
        if importlib.util.find_spec("pydantic_monty") is None:
            raise Misconfigured("[code]: needs `pip install 'orlop[sandbox]'`")
        self._config = config
        self._open = AsyncExitStack()
        self._pool: object = None
        named = ", ".join(f"{function(name)}(**arguments)" for name in config.tools) or "none"
        self.card = ToolCard(
            name=NAME,
            description=DESCRIPTION.format(tools=named),
            parameters=PARAMETERS,
            results=RESULTS,
            effect="pure",
            timeout_s=config.timeout_s,
            concurrency=config.workers,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        """Without any tools."""
        return await self.run(arguments, _no_tool)

    async def happened(self, key: str) -> bool | None:
        return None

    async def preview(self, arguments: Mapping[str, object], limit_s: float) -> str:
        """The code, as a person reads it."""
        return str(arguments.get("code", ""))[:SAID_CHARS_MAX]

    async def close(self) -> None:
        await self._open.aclose()

    async def run(self, arguments: Mapping[str, object], ask: AskTool) -> object:
        """Raises `ToolFailed` with what the interpreter said."""
        from pydantic_monty import AsyncMonty, CollectString, MontyCrashedError, MontyError

        config, inputs = self._config, arguments.get("inputs") or {}
        if not isinstance(inputs, dict):
            raise BadCall("inputs: an object")
        if self._pool is None:
            pool = AsyncMonty(
                min_processes=0, max_processes=config.workers, checkout_timeout=CHECKOUT_S
            )
            self._pool = await self._open.enter_async_context(pool)
        assert isinstance(self._pool, AsyncMonty)
        printed = CollectString(max_bytes=config.printed_bytes)
        try:
            async with self._pool.checkout(
                script_name="code.py",
                limits={
                    "max_feed_duration_secs": config.run_s,
                    "max_memory": config.memory_mib << 20,
                    "max_recursion_depth": DEPTH_MAX,
                    "max_suspensions": ASKED_MAX,
                },
            ) as session:
                value = await session.feed_run(
                    str(arguments["code"]),
                    inputs={"inputs": inputs},
                    external_lookup={function(name): _asking(name, ask) for name in config.tools},
                    print_callback=printed,
                )
        except MontyCrashedError as error:
            raise DeviceFailed(f"the interpreter was lost: {error}") from error
        except (MontyError, TimeoutError) as error:
            raise ToolFailed(str(error)[:SAID_CHARS_MAX]) from error
        return {"value": _plain(value), "printed": printed.output}


def function(tool: str) -> str:
    """A tool's name as code says it."""
    return "".join(letter if letter.isalnum() else "_" for letter in tool)


def _asking(name: str, ask: AskTool) -> Callable[..., Awaitable[object]]:
    async def asked(**arguments: object) -> object:
        try:
            return await ask(name, arguments)
        except KernelError as error:  # The code may go on without it.
            raise RuntimeError(f"{name}: {error.message}") from error

    return asked


async def _no_tool(name: str, arguments: Mapping[str, object]) -> object:
    raise BadCall(f"{name} can't be called here")


def _plain(value: object) -> object:
    """As JSON; what has no such form is shown as text."""
    try:
        text = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = msgspec.json.encode(repr(value))
    if len(text) > TOOL_OUTPUT_BYTES_MAX:
        raise ToolFailed(f"the value is longer than {TOOL_OUTPUT_BYTES_MAX} bytes")
    plain: object = msgspec.json.decode(text)
    return plain
