"""Effects that happen together or are undone together.

async with kernel.saga("trip") as saga:
    flight = await saga.call_tool("book_flight", to="Lima")
    await saga.call_tool("book_hotel", flight=flight["number"])

Leaving the block commits; an exception gives the saga up, and is raised once all is undone.  A
program that dies in between leaves that to the kernel.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from orlop.abi.calls import Call, CallTool
from orlop.abi.errors import KernelError
from orlop.abi.hints import Hints
from orlop.abi.replies import Done, ToolResult
from orlop.abi.sagas import CloseSaga, OpenSaga, SagaBegun, SagaOver
from orlop.sdk.sync_saga import gives_up, reason_of
from orlop.sdk.words import NO_HINTS, expect


class Saga:
    """`over`: how it ended, once it has."""

    def __init__(
        self, call: Callable[[Call], Awaitable[Done]], name: str, expires_s: float
    ) -> None:
        self._call = call
        self._open = OpenSaga(name=name, expires_s=expires_s)
        self.id = ""
        self.over: SagaOver | None = None

    async def __aenter__(self) -> "Saga":
        self.id = expect(await self._call(self._open), SagaBegun).saga
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.over is not None:
            return
        if error is None:
            await self.commit()
        elif isinstance(error, asyncio.CancelledError) or gives_up(error):
            try:
                await self.abort(reason_of(error))
            except KernelError as refusal:  # What the program failed with is said, not this.
                error.add_note(f"saga {self.id} could not be given up: {refusal}")

    async def call_tool(
        self, tool: str, /, *, key: str = "", hints: Hints = NO_HINTS, **arguments: object
    ) -> object:
        """A step: undone with the others, unless they are committed."""
        call = CallTool(tool=tool, arguments=arguments, key=key, saga=self.id, hints=hints)
        return expect(await self._call(call), ToolResult).value

    async def commit(self) -> None:
        """From here on it stays done."""
        self.over = expect(await self._call(CloseSaga(saga=self.id, verdict="commit")), SagaOver)

    async def abort(self, reason: str = "") -> SagaOver:
        """Undo all of it; returns when that is done, after days where a person is needed."""
        call = CloseSaga(saga=self.id, verdict="abort", reason=reason)
        self.over = expect(await self._call(call), SagaOver)
        return self.over
