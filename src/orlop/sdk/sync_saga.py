"""Effects that happen together or are undone together, for scripts without `async`.

with kernel.saga("trip") as saga:
    saga.call_tool("book_flight", to="Lima")
"""

from collections.abc import Callable
from types import TracebackType

from orlop.abi.calls import Call, CallTool
from orlop.abi.errors import Diverged, Fenced, KernelError, NotReady
from orlop.abi.hints import Hints
from orlop.abi.replies import Done, ToolResult
from orlop.abi.sagas import CloseSaga, OpenSaga, SagaBegun, SagaOver
from orlop.sdk.words import NO_HINTS, expect

NOT_OURS = (Diverged, Fenced, NotReady)
"""Errors that end this copy of the program, and not the saga: a resumed one goes on with it."""

REASON_CHARS_MAX = 500


def reason_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:REASON_CHARS_MAX]


def gives_up(error: BaseException) -> bool:
    """Whether an exception is the program's own, so that its saga is to be undone now."""
    return isinstance(error, Exception) and not isinstance(error, NOT_OURS)


class SyncSaga:
    """`over`: how it ended, once it has."""

    def __init__(self, call: Callable[[Call], Done], name: str, expires_s: float) -> None:
        self._call = call
        self._open = OpenSaga(name=name, expires_s=expires_s)
        self.id = ""
        self.over: SagaOver | None = None

    def __enter__(self) -> "SyncSaga":
        self.id = expect(self._call(self._open), SagaBegun).saga
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.over is not None:
            return
        if error is None:
            self.commit()
        elif gives_up(error):
            try:
                self.abort(reason_of(error))
            except KernelError as refusal:  # What the program failed with is said, not this.
                error.add_note(f"saga {self.id} could not be given up: {refusal}")

    def call_tool(
        self, tool: str, /, *, key: str = "", hints: Hints = NO_HINTS, **arguments: object
    ) -> object:
        call = CallTool(tool=tool, arguments=arguments, key=key, saga=self.id, hints=hints)
        return expect(self._call(call), ToolResult).value

    def commit(self) -> None:
        self.over = expect(self._call(CloseSaga(saga=self.id, verdict="commit")), SagaOver)

    def abort(self, reason: str = "") -> SagaOver:
        call = CloseSaga(saga=self.id, verdict="abort", reason=reason)
        self.over = expect(self._call(call), SagaOver)
        return self.over
