"""Devices as the kernel lives with them: looked at again and again, and what changes is journaled.

A device that is good for less takes less work from the next call on: `as_usable` is what routing
sees of an engine, and `eligible` is which engines a call's own claim allows.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from orlop.abi.cards import EngineCard, ModelCard
from orlop.abi.devices import DeviceCard, DeviceChanged, DeviceName, DrainOrder
from orlop.abi.errors import DeviceFailed, NoSuchDevice
from orlop.abi.hints import Hints
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, TenantId
from orlop.abi.limits import DEVICE_LOOK_S_MAX
from orlop.abi.replies import Generated
from orlop.devices.device import Engine
from orlop.devices.speed import GUESS
from orlop.hardware.claim import mismatch, together
from orlop.hardware.predicate import Predicate, is_met
from orlop.hardware.sight import CPU, Looker
from orlop.hardware.table import Change
from orlop.machine.offload import Offload
from orlop.state.core import Kernel
from orlop.subsystems import bounds, claims

log = logging.getLogger(__name__)

OUT_OF_MEMORY: Final = re.compile(
    r"out of (device |gpu |cuda )?memory|CUDA_ERROR_OUT_OF_MEMORY|cudaMalloc failed|"
    r"failed to allocate|hipErrorOutOfMemory|cannot allocate memory",
    re.IGNORECASE,
)
"""How engines say that their device is full; none has a code for it."""

REASON_CHARS: Final = 200
"""Of an engine's own words, when a device is taken out of use for them."""

TOKENS_TIMED_MIN: Final = 16
"""Of an answer whose pace says something."""

LOOK_PAUSE_S: Final = 0.5
"""Between two looks at least, however many reasons there are to look."""


def begin(kernel: Kernel, looker: Looker, offload: Offload) -> None:
    """Start to look.  From here on calls wait for the first look, as for engines' first words."""
    recall(kernel)
    kernel.devices_seen = asyncio.Event()
    kernel.tasks.start(watch(kernel, looker, offload), "devices")


async def seen(kernel: Kernel) -> None:
    """Return once the devices have been looked at, or that takes too long."""
    if kernel.devices_seen is None or kernel.devices_seen.is_set():
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(DEVICE_LOOK_S_MAX):
            await kernel.devices_seen.wait()


async def watch(kernel: Kernel, looker: Looker, offload: Offload) -> None:
    """For ever: look, journal what has changed, wait for the next look or for a reason to look."""
    while True:
        kernel.device_look.clear()
        await look(kernel, looker, offload)
        if kernel.devices_seen is not None:
            kernel.devices_seen.set()
        await kernel.clock.sleep(LOOK_PAUSE_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(kernel.config.device_look_s):
                await kernel.device_look.wait()


async def look(kernel: Kernel, looker: Looker, offload: Offload) -> None:
    """One look.  A library that hangs tells of nothing: what was known stays known."""
    try:
        async with asyncio.timeout(DEVICE_LOOK_S_MAX):
            found = await offload(looker.look)
    except TimeoutError:
        log.warning("looking at the devices took more than %g s", DEVICE_LOOK_S_MAX)
        return
    told(kernel, kernel.devices.see(found))
    await claims.erase_all(kernel, looker, offload)


def stand(kernel: Kernel, engine: Engine, device: str) -> None:
    """Where an engine stands: as configured, else as its driver says, else on a device of its own,
    of which we know nothing."""
    said = engine.card().device
    if device:
        kernel.devices.stand(engine.name, device)
    elif said == "cpu":
        kernel.devices.stand(engine.name, CPU)
    else:
        kernel.devices.stand(engine.name, said or engine.name, is_own=True)


def recall(kernel: Kernel) -> None:
    """What the journal says of devices, before the first look of this life."""
    for row in kernel.tables.claims.devices.values():
        kernel.devices.told(row.device, row.health, row.share, row.reason)


def told(kernel: Kernel, changes: Sequence[Change], within_s: float | None = None) -> None:
    """Journal changes, log them, and tell those who have claims on what is gone.

    within_s: see `claims.lose`.
    """
    for change in changes:
        event = DeviceChanged(
            device=change.device,
            health=change.health,
            was=change.was,
            share=round(change.share, 3),
            reason=change.reason[:REASON_CHARS],
        )
        if kernel.journal.stopped is None:
            kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event)
        level = logging.INFO if change.health == "ready" else logging.WARNING
        what = f"{change.was or 'new'} → {change.health}"
        log.log(
            level,
            "device %s: %s, %.0f %%: %s",
            change.device,
            what,
            100 * change.share,
            change.reason or "no reason to complain",
        )
        if change.health in ("drained", "lost"):
            for engine in kernel.devices.engines_on(change.device):
                # Calls that wait, and that another engine can serve too, go there now.
                kernel.scheduler.detach(engine, kernel.clock.now_s())
            claims.lose(kernel, change, within_s)


async def drain(kernel: Kernel, name: str, order: DrainOrder) -> None:
    """No more work on a device, until `restore`.  Raises `NotFound`."""
    bounds.name("reason", order.reason)
    told(kernel, kernel.devices.drain(DeviceName(name), order.reason), order.within_s)
    await kernel.journal.flush()


async def restore(kernel: Kernel, name: str) -> None:
    """An operator says that a device is sound.  Raises `NotFound`."""
    told(kernel, kernel.devices.restore(DeviceName(name)))
    await kernel.journal.flush()


# Calls.


def as_usable(kernel: Kernel, card: EngineCard, tenant: TenantId | None = None) -> EngineCard:
    """The engine as routing should see it: a device that is good for less lowers its slots, one
    that is good for nothing makes it fail, with the device's reason."""
    usable = kernel.devices.usable(card.name, tenant)
    if usable.share >= 1:
        return card
    if usable.share <= 0:
        return replace(card, health="failing", reason=usable.reason)
    return replace(card, slots=slots(card.slots, usable.share))


def slots(all_of_them: int, share: float) -> int:
    """Those that a degraded device is given; one at least, so that it can show its recovery."""
    return max(1, int(all_of_them * share))


def eligible(
    kernel: Kernel, cards: Sequence[ModelCard], hints: Hints, tenant: TenantId
) -> Sequence[ModelCard]:
    """The cards whose engines stand on a device that meets the call's claim and region.

    Raises `BadCall` for a claim that can't be read; `NoSuchDevice` where no device of these
    engines meets it, with what is missing; `DeviceFailed` where those that do are all unusable.
    """
    if not (hints.device or hints.region):
        return cards
    region = [f'region == "{_quoted(hints.region)}"'] if hints.region else []
    predicate = together([hints.device, *region])
    devices = {card.engine: kernel.devices.device_of(card.engine) for card in cards}
    met = [card for card in cards if _meets(devices[card.engine], predicate)]
    if not met:
        facts = {
            f"{engine} on {device.name}" if device else f"{engine} (device not known)": (
                device.facts() if device else {}
            )
            for engine, device in devices.items()
        }
        raise NoSuchDevice(mismatch(predicate, facts))
    reasons = [kernel.devices.usable(card.engine, tenant) for card in met]
    if all(usable.share <= 0 for usable in reasons):
        told = "; ".join(dict.fromkeys(usable.reason for usable in reasons))
        raise DeviceFailed(f"no device that meets {predicate.text!r} is usable: {told}")
    return met


def _meets(device: DeviceCard | None, predicate: Predicate) -> bool:
    return is_met(predicate, device.facts() if device is not None else {})


def _quoted(text: str) -> str:
    return text.replace('"', "")


def failed(kernel: Kernel, engine: Engine, error: DeviceFailed) -> None:
    """A call failed on an engine: its device may be full, or gone."""
    if OUT_OF_MEMORY.search(error.message):
        told(kernel, kernel.devices.failed(engine.name, error.message[:REASON_CHARS]))
    kernel.device_look.set()


def timed(kernel: Kernel, engine: Engine, generated: Generated) -> None:
    """A call that began alone has ended: its pace against the engine's calibration.

    Says nothing where nobody has calibrated, where the engine does not tell its times, and where
    others have come meanwhile.
    """
    speed, usage = engine.capacity().speed, generated.usage
    is_alone = kernel.scheduler.load(engine.name)[0] == 1
    if speed is GUESS or not is_alone or usage.output_tokens < TOKENS_TIMED_MIN:
        return
    context = usage.input_tokens + usage.output_tokens // 2
    expected_s = usage.output_tokens * speed.decode_s(1, context)
    if expected_s > 0 and generated.decode_s > 0:
        told(kernel, kernel.devices.timed(engine.name, expected_s / generated.decode_s))


def name_of(kernel: Kernel, engine: Engine) -> DeviceName:
    """For the facts of a call."""
    device = kernel.devices.device_of(engine.name)
    return device.name if device is not None else DeviceName(engine.card().device)
