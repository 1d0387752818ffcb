"""Claims that programs make by themselves, and how they hear that they must leave.

A program asks for a device by its own right, for work that is no model call.  It then listens; when
its device is taken back it is told why and how long it has, saves its state, and gives the claim
back by itself.  One that does not listen is sent SIGTERM, as any holder; one that has not given its
claim back in time is ended.
"""

from orlop.abi.devices import ClaimOrder, ClaimView
from orlop.abi.errors import BadCall, Denied, NotFound
from orlop.abi.limits import CLAIMS_PER_PROCESS_MAX, NAME_CHARS_MAX
from orlop.access.rights import Narrowing
from orlop.hardware.bell import Bell
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import claims, rights


async def claim(
    kernel: Kernel, process: Process, order: ClaimOrder, narrowing: Narrowing | None
) -> ClaimView:
    """A device that the process has a right to; asked for again under the same key, the same.

    Raises `Denied`, and as `claims.claim`.
    """
    if len(order.key) > NAME_CHARS_MAX:
        raise BadCall(f"key: at most {NAME_CHARS_MAX} characters (NAME_CHARS_MAX)")
    held = _held(kernel, process)
    if order.key and (known := next((one for one in held if one.key == order.key), None)):
        return known
    if len(held) >= CLAIMS_PER_PROCESS_MAX:
        raise BadCall(f"it holds {len(held)} claims already (CLAIMS_PER_PROCESS_MAX)")
    allowed, refused = set[str](), None
    for card in kernel.devices.cards():
        try:
            rights.require(process, "device", card.name, narrowing=narrowing)
            allowed.add(card.name)
        except Denied as error:
            refused = refused or error
    if refused is not None and not allowed:
        rights.refuse(kernel, process, refused, "device", narrowing)
        raise refused
    return await claims.claim(kernel, process, order, among=frozenset(allowed))


def listening(kernel: Kernel, process: Process, id: str) -> Bell:
    """The bell of a claim of its own.  Raises `NotFound`."""
    bell = kernel.bells[_mine(kernel, process, id).id]
    bell.is_heard = True
    return bell


def give_back(kernel: Kernel, process: Process, id: str) -> None:
    """Raises `NotFound`."""
    claims.release(kernel, _mine(kernel, process, id).id, "its holder is done")


def _held(kernel: Kernel, process: Process) -> list[ClaimView]:
    claimed = kernel.devices.ledger.claims.values()
    return [one for one in claimed if one.process == process.id]


def _mine(kernel: Kernel, process: Process, id: str) -> ClaimView:
    found = claims.find(kernel, id)
    if found.process != process.id:
        raise NotFound(f"no claim {id!r} is held by process {process.row.pid}")
    return found
