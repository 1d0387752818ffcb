"""Keeps engines started and the registry true, one task an engine.

An engine whose models the kernel moves is connected to here; what is loaded `residence` decides.
"""

import asyncio
import logging
from contextlib import suppress

from msgspec.structs import replace

from orlop.abi.calls import Call, Embed, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import KernelError
from orlop.abi.limits import ENGINE_HEARD_S
from orlop.devices.device import Engine
from orlop.meter.usage import nano
from orlop.state.core import Kernel
from orlop.subsystems import devices, forms, residence, seating

log = logging.getLogger(__name__)

RETRY_S = 0.25
"""Before a failing engine is asked again, at first; doubles up to `LOOK_S`."""

LOOK_S = 15.0
"""Between two looks at an engine that answers: its list of models may have changed."""


async def keep(kernel: Kernel, engine: Engine, *, paid: bool) -> None:
    """For ever: start the engine, learn its models, look again."""
    delay_s = RETRY_S
    while True:
        try:
            await engine.start()
            cards = await engine.models()
            unlisted = residence.unlisted(kernel, engine, cards)
            listed = [priced(kernel, card, paid) for card in cards]
            is_news = kernel.registry.learn(engine.name, [*listed, *unlisted])
            residence.attend(kernel, engine)
            seating.look(kernel, engine)
            if is_news:
                kernel.turns.news(engine.name)
            delay_s = LOOK_S
        except KernelError as error:
            level = logging.WARNING if delay_s == RETRY_S else logging.DEBUG
            log.log(level, "engine %s can't be used: %s", engine.name, error.message)
            kernel.registry.heard_of(engine.name)
            kernel.device_look.set()
            seating.look(kernel, engine)
            delay_s = min(2 * delay_s, LOOK_S) if delay_s < LOOK_S else RETRY_S
        await kernel.clock.sleep(delay_s)


def priced(kernel: Kernel, card: ModelCard, paid: bool) -> ModelCard:
    """With what orlop.toml says that it costs."""
    config = kernel.prices.get(f"{card.engine}/{card.name}") or kernel.prices.get(card.name)
    if config is None:
        return replace(card, paid=paid)
    return replace(
        card,
        paid=paid,
        is_priced=True,
        input_price=nano(config.input),
        output_price=nano(config.output),
        cached_price=None if config.cached is None else nano(config.cached),
    )


async def heard(kernel: Kernel, call: Call) -> None:
    """Let a call that names a model wait for engines that have not said yet what they run.

    Only so does a client that comes right after a boot not hear that its model doesn't exist.
    """
    if not isinstance(call, Infer | Embed):
        return
    await devices.seen(kernel)
    if kernel.registry.all_heard:
        return
    name = forms.place_of(kernel, call.model)
    with suppress(TimeoutError):
        async with asyncio.timeout(ENGINE_HEARD_S):
            await kernel.registry.heard(name, "embed" if isinstance(call, Embed) else "chat")
