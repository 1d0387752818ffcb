"""The client's half of the HTTP API, without I/O: what is sent, what comes back, what is lost."""

from dataclasses import dataclass

import msgspec
from msgspec import Struct

from orlop.abi.errors import Broken, KernelError, from_code
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
    nonce: str = ""
    """This one call's own name: the kernel tells its retry from an equal call by it."""
    wait_s: float | None = None
    """The answer may come later: after so long, say where it will be."""
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


def headers(place: Place, order: Order, *, again: bool) -> dict[str, str]:
    """`again`: an earlier copy of this order may have arrived; the kernel joins the two."""
    fields = {"Authorization": f"Bearer {place.token}", "Accept": order.accept}
    if order.body:
        fields["Content-Type"] = JSON
    if order.wait_s is not None:
        fields["Prefer"] = f"respond-async, wait={order.wait_s:g}"
    if order.nonce:
        fields["orlop-key"] = order.nonce
    if again:
        fields["orlop-retry"] = "1"
    if place.program:
        fields["Orlop-Program"] = place.program
    if place.tenant:
        fields["Orlop-Tenant"] = place.tenant
    if place.process:
        fields["Orlop-Process"] = place.process
    return fields


def read_error(status: int, body: bytes) -> KernelError:
    """The error that a response of status 400 and above stands for."""
    try:
        problem = msgspec.json.decode(body, type=_ProblemBody).error
    except msgspec.DecodeError:
        shown = body[:200].decode(errors="replace")
        return Broken(f"the kernel's address answered {status} with no error of ours: {shown}")
    return from_code(problem.code, problem.message, problem.retry_after_s)
