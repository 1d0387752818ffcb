"""Keeps engines started and the registry true, one task an engine."""

import logging

from msgspec.structs import replace

from orlop.abi.errors import KernelError
from orlop.devices.device import Engine
from orlop.kernel.core import Kernel

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
            kernel.registry.learn(engine.name, [replace(card, paid=paid) for card in cards])
            delay_s = LOOK_S
        except KernelError as error:
            level = logging.WARNING if delay_s == RETRY_S else logging.DEBUG
            log.log(level, "engine %s can't be used: %s", engine.name, error.message)
            delay_s = min(2 * delay_s, LOOK_S) if delay_s < LOOK_S else RETRY_S
        await kernel.clock.sleep(delay_s)
