"""A kernel that is killed again and again under agents and people, and the till that they use."""

import asyncio
import random
from collections.abc import Mapping

from small_kernel import Computer

from orlop.abi.cards import ToolCard
from orlop.state.core import Kernel


class Till:
    """Pays once a key, as an idempotent tool promises; a call takes up to three seconds."""

    card = ToolCard(name="pay", effect="idempotent", approval="always", approval_s=1e6)

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.paid: dict[str, Mapping[str, object]] = {}
        """By key, what for."""

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        await asyncio.sleep(self._chance.uniform(0, 2))
        self.paid[key] = dict(arguments)
        await asyncio.sleep(self._chance.uniform(0, 1))
        return "paid"

    async def happened(self, key: str) -> bool | None:
        return None


class Doomed:
    """The kernel of the moment; `up` is set while there is one."""

    def __init__(self, here: Computer, kernel: Kernel, chance: random.Random) -> None:
        self.here = here
        self.kernel = kernel
        self.chance = chance
        self.kills = 0
        self._dead: list[Kernel] = []
        """What waits in one that crashed must not be collected before the loop ends."""
        self.up = asyncio.Event()
        self.up.set()

    async def doom(self, kills: int) -> None:
        for _ in range(kills):
            await asyncio.sleep(self.chance.uniform(0, 3))
            await self.kill()

    async def kill(self) -> None:
        """At once: what is not on the disk by now is lost."""
        if not self.up.is_set():
            return
        self.up.clear()
        self.kills += 1
        self._dead.append(self.kernel)
        await self.here.crash(self.kernel)
        self.kernel = await self.here.boot()
        self.up.set()
