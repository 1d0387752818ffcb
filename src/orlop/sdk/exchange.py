"""The client's half of the HTTP API, without I/O: orders to send, and answers to read."""

from dataclasses import dataclass

import msgspec
from msgspec import Struct

from orlop.abi.calls import Call
from orlop.abi.errors import Broken, KernelError, from_code
from orlop.abi.ids import CallId
from orlop.abi.limits import PARKED_POLL_S
from orlop.abi.replies import Completion, Delta, Done
from orlop.sdk.place import Place

ROOT = "/orlop/v1"
JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Order:
    """One HTTP request."""

    method: str
    path: str
    body: bytes = b""
    accept: str = JSON
    repeatable: bool = True
    """It may be sent again when its answer was lost: it only reads, or the kernel joins the two."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response that is no error."""

    status: int
    body: bytes

    @property
    def is_parked(self) -> bool:
        """The call goes on in the kernel; ask later."""
        return self.status == 202


class LostAnswer(Exception):
    """The connection broke.  `sent`: the kernel may have seen the order."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class _Problem(Struct):
    code: str
    message: str
    retry_after_s: float | None = None


class _ProblemBody(Struct):
    error: _Problem


class _ProblemLine(Struct, tag="error"):
    code: str
    message: str
    retry_after_s: float | None = None


class _Parked(Struct):
    call: CallId


_DONE: msgspec.json.Decoder[Done] = msgspec.json.Decoder(Done)
_PIECE: msgspec.json.Decoder[Delta | Completion | _ProblemLine] = msgspec.json.Decoder(
    Delta | Completion | _ProblemLine
)


def call_order(call: Call) -> Order:
    return Order("POST", f"{ROOT}/calls", msgspec.json.encode(call))


def stream_order(call: Call) -> Order:
    return Order("POST", f"{ROOT}/calls", msgspec.json.encode(call), accept=NDJSON)


def parked_order(answer: Answer) -> Order:
    """The question for the answer of a parked call."""
    call = msgspec.json.decode(answer.body, type=_Parked).call
    return Order("GET", f"{ROOT}/calls/{call}?wait={PARKED_POLL_S:g}")


def headers(place: Place, order: Order, *, again: bool) -> dict[str, str]:
    """`again`: an earlier copy of this order may have arrived; the kernel joins the two."""
    fields = {"Authorization": f"Bearer {place.token}", "Accept": order.accept}
    if order.body:
        fields["Content-Type"] = JSON
    if again:
        fields["orlop-retry"] = "1"
    if place.program:
        fields["Orlop-Program"] = place.program
    if place.process:
        fields["Orlop-Process"] = place.process
    return fields


def read_done(body: bytes) -> Done:
    try:
        return _DONE.decode(body)
    except msgspec.DecodeError as error:
        raise _unreadable(body) from error


def read_piece(line: bytes) -> Delta | Completion:
    """One line of a streamed answer.  Raises the `KernelError` that ends it."""
    try:
        piece = _PIECE.decode(line)
    except msgspec.DecodeError as error:
        raise _unreadable(line) from error
    if isinstance(piece, _ProblemLine):
        raise from_code(piece.code, piece.message, piece.retry_after_s)
    return piece


def read_error(status: int, body: bytes) -> KernelError:
    """The error that a response of status 400 and above stands for."""
    try:
        problem = msgspec.json.decode(body, type=_ProblemBody).error
    except msgspec.DecodeError:
        shown = body[:200].decode(errors="replace")
        return Broken(f"the kernel's address answered {status} with no error of ours: {shown}")
    return from_code(problem.code, problem.message, problem.retry_after_s)


def _unreadable(body: bytes) -> Broken:
    shown = body[:200].decode(errors="replace")
    return Broken(f"the kernel's answer can't be read; are its version and ours alike? {shown}")
