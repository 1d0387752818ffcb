"""Claims on devices: granted, journaled, and given back, whatever becomes of their holders.

Work that is not inference (tuning, evaluation, an engine of one's own) holds a device by a claim.
Invariants: 1. every claim that is in the journal and not released is in the ledger; 2. a claim ends
with its process; 3. a device that a tenant had alone is nobody's until `DeviceErased` is recorded.

A device may be taken back: then each holder has what notice there is to save its state, first by
its own hook, and if it has none by SIGTERM; after that the claim is over, and its process killed,
unless it has given the claim back by itself.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence

from orlop.abi.devices import (
    ClaimId,
    ClaimOrder,
    ClaimView,
    DeviceCard,
    DeviceClaimed,
    DeviceErased,
    DeviceName,
    DeviceReleased,
    Notice,
)
from orlop.abi.errors import Conflict, Exhausted, KernelError, NoSuchDevice, NotFound
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS
from orlop.abi.limits import KILL_GRACE_S
from orlop.devices.erasure import erase, unerasable
from orlop.hardware.bell import Bell
from orlop.hardware.claim import Checkpoint, meets
from orlop.hardware.sight import Looker
from orlop.hardware.table import Change
from orlop.machine.chance import mint
from orlop.machine.offload import Offload
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle, residence

log = logging.getLogger(__name__)


async def claim(
    kernel: Kernel,
    process: Process,
    order: ClaimOrder,
    checkpoint: Checkpoint | None = None,
    among: Collection[str] | None = None,
) -> ClaimView:
    """Take a device, or a part of one, until `release` or until the process is over.

    among: names of the devices that may be taken; None: all.  Returns once that is durable.
    Raises as `Ledger.planned`; `Conflict` for an ended process.
    """
    if kernel.is_over(process.id):
        raise Conflict(f"process {process.row.pid} has ended: only a living one holds devices")
    id = ClaimId(mint("clm", kernel.chance, kernel.clock.wall_ns()))
    ledger, tenant = kernel.devices.ledger, process.row.tenant
    cards = [card for card in kernel.devices.cards() if among is None or card.name in among]
    kept = _kept(kernel, cards) if order.exclusive else {}
    may = [card for card in cards if card.name not in kept]
    try:
        planned = ledger.planned(order, id, process.id, tenant, may)
    except NoSuchDevice as error:
        raise _unlendable(order, cards, kept) or error from None
    if order.exclusive:
        require_idle(kernel, planned.device)
    # From here on only the journal can fail, before anything has changed.
    header = kernel.emit(process.id, tenant, DeviceClaimed(claim=planned, where=order.where))
    hold(kernel, process, planned, checkpoint)
    log.info("claim %s: %s of %s for %s", id, shown(planned), planned.device, process.id)
    await kernel.journal.durable(header.seq)
    return planned


def _kept(kernel: Kernel, cards: Sequence[DeviceCard]) -> Mapping[DeviceName, str]:
    """Why devices can't be erased, of those that can't."""
    reasons = dict[DeviceName, str]()
    for card in cards:
        engines = [
            kernel.registry.engines.get(name) for name in kernel.devices.engines_on(card.name)
        ]
        told = "; ".join(filter(None, (unerasable(engine) for engine in engines if engine)))
        if told:
            reasons[card.name] = told
    return reasons


def _unlendable(
    order: ClaimOrder, cards: Sequence[DeviceCard], kept: Mapping[DeviceName, str]
) -> NoSuchDevice | None:
    """Where devices would meet an exclusive claim and can't be erased, that is the reason."""
    found = [card.name for card in cards if card.name in kept and meets(order.where, card)]
    if not found:
        return None
    told = "; ".join(f"{name}: {kept[name]}" for name in found)
    return NoSuchDevice(f"no device that meets {order.where!r} can be lent alone: {told}")


def require_idle(kernel: Kernel, device: DeviceName) -> None:
    """Raises `Exhausted` while calls of anybody run there."""
    for engine in kernel.devices.engines_on(device):
        running, _ = kernel.scheduler.load(engine)
        if running:
            raise Exhausted(
                f"{running} calls run on {engine}, which stands on {device}", retry_after_s=1.0
            )


def hold(kernel: Kernel, process: Process, claim: ClaimView, checkpoint: Checkpoint | None) -> None:
    kernel.devices.ledger.take(claim)
    kernel.bells[claim.id] = Bell()
    kernel.checkpoints[claim.id] = checkpoint or _ask(kernel, process, claim.id)
    kernel.tasks.start(_until_over(kernel, process, claim.id), f"claim {claim.id}")


def release(kernel: Kernel, id: ClaimId, reason: str) -> None:
    """Give a claim back.  One that is over already is no error."""
    claim = kernel.devices.ledger.claims.get(id)
    if claim is None:
        return
    kernel.emit(
        claim.process, claim.tenant, DeviceReleased(claim=id, device=claim.device, reason=reason)
    )
    kernel.devices.ledger.give_back(id)
    kernel.checkpoints.pop(id, None)
    if (bell := kernel.bells.pop(id, None)) is not None:
        bell.ring(None)
    log.info("claim %s on %s is over: %s", id, claim.device, reason)
    kernel.device_look.set()  # A device that was lent alone is erased at the next look.


def find(kernel: Kernel, id: str) -> ClaimView:
    """Raises `NotFound`."""
    if (claim := kernel.devices.ledger.claims.get(ClaimId(id))) is None:
        raise NotFound(f"no claim {id!r} is held; `orlop devices` shows those that are")
    return claim


def lose(kernel: Kernel, change: Change, within_s: float | None) -> None:
    """A device is gone or drained: its holders save what they can, of a lost one what they have
    elsewhere.

    within_s: what an operator allows; None: the notice that its owner gives, else what each holder
    has said that it needs.
    """
    why = f"{change.device} is {change.health}: {change.reason}"
    notice_s = kernel.devices.notice_s(change.device) if within_s is None else within_s
    for claim in kernel.devices.ledger.of(change.device):
        allowed_s = (claim.notice_s or KILL_GRACE_S) if notice_s is None else notice_s
        kernel.tasks.start(leave(kernel, claim, why, allowed_s), f"leave {claim.id}")


async def leave(kernel: Kernel, claim: ClaimView, why: str, within_s: float) -> None:
    """Let a holder save its state within the notice, then take the device."""
    checkpoint = kernel.checkpoints.get(claim.id)
    if checkpoint is not None and within_s > 0:
        try:
            async with asyncio.timeout(within_s):
                await checkpoint(why, within_s)
        except TimeoutError:
            why += f"; it was not done after {within_s:g} s"
        except Exception as error:  # Whatever its hook does, its device is taken.
            log.exception("the checkpoint of claim %s failed", claim.id)
            why += f"; its checkpoint failed: {error}"
    if claim.id not in kernel.devices.ledger.claims:
        return  # It has given it back by itself, and lives on.
    process = kernel.processes.get(claim.process)
    release(kernel, claim.id, why)
    if process is not None and not kernel.is_over(process.id):
        kernel.launcher.signal(process.row, "kill")


def _ask(kernel: Kernel, process: Process, id: ClaimId) -> Checkpoint:
    """Of a program that listens: the notice, and until it has given its claim back.  Of any other:
    SIGTERM, and as long as it takes to end."""

    async def checkpoint(why: str, within_s: float) -> None:
        bell = kernel.bells[id]
        if not bell.is_heard:
            kernel.launcher.signal(process.row, "term")
            await lifecycle.ended(kernel, process)
            return
        bell.ring(Notice(why=why, within_s=within_s))
        while id in kernel.devices.ledger.claims:
            await bell.changed.wait()

    return checkpoint


async def _until_over(kernel: Kernel, process: Process, id: ClaimId) -> None:
    await lifecycle.ended(kernel, process)
    if kernel.journal.stopped is None and not kernel.closing:
        release(kernel, id, "its process is over")


def recover(kernel: Kernel) -> None:
    """After a boot: claims of those who live go on, the others are released."""
    for row in tuple(kernel.tables.claims.held.values()):
        claim = row.claim
        process = kernel.processes.get(claim.process)
        kernel.devices.ledger.take(claim)
        if process is None or kernel.is_over(claim.process):
            release(kernel, claim.id, "its process did not outlive the kernel")
        else:
            hold(kernel, process, claim, None)
    kernel.devices.ledger.erasing |= kernel.tables.claims.unerased


async def erase_all(kernel: Kernel, looker: Looker, offload: Offload) -> None:
    """Begin to erase what tenants that had a device alone have left there, as far as it goes now.

    Each in a task of its own: an engine may take as long to forget as it takes to start.
    """
    ledger = kernel.devices.ledger
    for device in [one for one in ledger.erasing if one not in ledger.at_work]:
        card = next((card for card in kernel.devices.cards() if card.name == device), None)
        if card is None or card.health == "lost":
            continue
        computing = await offload(looker.computing, card)
        if computing:
            log.warning("%s is not erased yet: processes %s compute there", device, computing)
            continue
        ledger.at_work.add(device)
        kernel.tasks.start(_erased(kernel, card, computing), f"erase {device}")


async def _erased(kernel: Kernel, card: DeviceCard, computing: tuple[int, ...] | None) -> None:
    """Erase a device and say so; one that can't be erased is tried again at the next look."""
    ledger = kernel.devices.ledger
    try:
        how = await _erase(kernel, card, computing)
    except KernelError as error:
        log.warning("%s is not erased yet: %s", card.name, error.message)
        return
    finally:
        ledger.at_work.discard(card.name)
    event = DeviceErased(device=card.name, tenant=ledger.erasing[card.name], how=how)
    kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event)
    ledger.erased(card.name)
    log.info("%s is erased: %s", card.name, how)


async def _erase(kernel: Kernel, card: DeviceCard, computing: tuple[int, ...] | None) -> str:
    done = list[str]()
    for name in kernel.devices.engines_on(card.name):
        if (engine := kernel.registry.engines.get(name)) is not None:
            done.append(await erase(engine))
            kernel.scheduler.detach(name, kernel.clock.now_s())  # No context is there any more,
            residence.attend(kernel, engine)  # and where it ended for that, no model.
    if computing is not None:
        done.append("no process computes on it; that its memory is cleared is its driver's word")
    elif card.kind == "cpu":
        done.append("its holder has left; the system clears memory before it gives it out")
    else:
        done.append("its holder has left; what else computes on it nobody tells")
    return "; ".join(done)


def shown(claim: ClaimView) -> str:
    """`0.50`, or `cores 0,1`."""
    if claim.cores:
        return f"cores {','.join(map(str, claim.cores))}"
    return f"{claim.share:.2f}"
