"""System calls as orders to send, and their answers as the kernel's replies, without I/O.

Apart from `exchange`, since operators make no calls, and `orlop ps` should start fast.
"""

import os

import msgspec
from msgspec import Struct

from orlop.abi.calls import Call, CallTool, call_name
from orlop.abi.capabilities import TokenOrder
from orlop.abi.errors import BadCall, Broken, from_code
from orlop.abi.ids import CallId
from orlop.abi.limits import PARKED_POLL_S
from orlop.abi.replies import Completion, Delta, Done
from orlop.sdk.exchange import NDJSON, ROOT, Answer, Order


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


def nonce() -> str:
    return os.urandom(8).hex()


def token_order() -> Order:
    return Order("POST", f"{ROOT}/token")


def read_token(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=TokenOrder).token
    except msgspec.DecodeError as error:
        raise Broken(f"the kernel's token can't be read: {error}") from error


def call_order(call: Call) -> Order:
    """A tool's call may wait for a person for days, and no connection lives so long."""
    wait_s = PARKED_POLL_S if isinstance(call, CallTool) else None
    return Order("POST", f"{ROOT}/calls", _encoded(call), nonce=nonce(), wait_s=wait_s)


def stream_order(call: Call) -> Order:
    return Order("POST", f"{ROOT}/calls", _encoded(call), NDJSON, nonce=nonce())


def _encoded(call: Call) -> bytes:
    """Raises `BadCall` where a program gave something that JSON has no word for."""
    try:
        return msgspec.json.encode(call)
    except TypeError as error:
        raise BadCall(f"{call_name(call)}: what is sent must be plain data: {error}") from error


def parked_order(answer: Answer) -> Order:
    """The question for the answer of a parked call."""
    call = msgspec.json.decode(answer.body, type=_Parked).call
    return Order("GET", f"{ROOT}/calls/{call}?wait={PARKED_POLL_S:g}")


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


def _unreadable(body: bytes) -> Broken:
    shown = body[:200].decode(errors="replace")
    return Broken(f"the kernel's answer can't be read; are its version and ours alike? {shown}")
