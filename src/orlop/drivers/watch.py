"""Looking at an engine from time to time: what it says of its own load.

Invariants: 1. a look never costs a call anything: it has a limit and a connection of its own;
2. an engine that lies (negative, not a number, beyond any engine) or garbles has no load, one that
does not answer keeps its last one, whose age tells; 3. one that has no such page is seldom asked.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from orlop.abi.errors import DeviceRefused, KernelError
from orlop.abi.ids import EngineName
from orlop.abi.limits import ENGINE_CALLS_MAX
from orlop.devices.device import EngineLoad
from orlop.drivers.metrics_text import Samples
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner

log = logging.getLogger(__name__)

WATCH_S: Final = 1.0
"""Between two looks while calls run."""

_IDLE_LOOKS: Final = 15
"""An engine with none of our calls is looked at each so many turns."""

_ABSENT_LOOKS: Final = 120
"""And one that has nothing to look at: it may have been started anew, with other options."""

_PREEMPTIONS_MAX: Final = 2.0**53

Look: TypeAlias = Callable[[], Awaitable[EngineLoad | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadNames:
    """What an engine's metrics are called."""

    running: str
    waiting: str
    kv_usage: str = ""
    preemptions: str = ""

    def all(self) -> tuple[str, ...]:
        names = (self.running, self.waiting, self.kv_usage, self.preemptions)
        return tuple(filter(None, names))


def read_load(samples: Samples, names: LoadNames, seen_s: float) -> EngineLoad | None:
    """None where the counts of calls are missing or can't be true."""
    running = samples.total(names.running, ENGINE_CALLS_MAX)
    waiting = samples.total(names.waiting, ENGINE_CALLS_MAX)
    if running is None or waiting is None:
        return None
    preemptions = samples.total(names.preemptions, _PREEMPTIONS_MAX)
    return EngineLoad(
        running=int(running),
        waiting=int(waiting),
        kv_usage=samples.mean(names.kv_usage, 1.0),
        preemptions=int(preemptions or 0),
        seen_s=seen_s,
    )


class Watch:
    """A task that looks.  `load` is what it saw last; `is_busy` tells whether calls run."""

    def __init__(
        self,
        name: EngineName,
        look: Look,
        *,
        clock: Clock,
        is_busy: Callable[[], bool],
        every_s: float = WATCH_S,
    ) -> None:
        self.load: EngineLoad | None = None
        self._name = name
        self._look = look
        self._clock = clock
        self._is_busy = is_busy
        self._every_s = every_s
        self._tasks = TaskOwner(f"watch {name}")
        self._is_told = False
        self._preemptions_before: int | None = None

    def start(self) -> None:
        """Begin to look, unless that is done already or the setting says never."""
        if self._every_s > 0 and not len(self._tasks):
            self._tasks.start(self._run())

    async def close(self) -> None:
        await self._tasks.close()

    async def look(self) -> bool:
        """Once; false: the engine has nothing to look at."""
        try:
            load = await self._look()
        except DeviceRefused as error:
            self._tell(error.message)
            self.load = None
            return False
        except KernelError as error:
            self._tell(error.message)
            return True
        if load is None:
            self._tell("it tells none, or one that can't be true")
        self.load = None if load is None else self._since_first(load)
        return True

    async def _run(self) -> None:
        turns = 0
        while True:
            has_load = await self.look()
            turns = 0
            while turns < (_IDLE_LOOKS if has_load else _ABSENT_LOOKS):
                await self._clock.sleep(self._every_s)
                turns += 1
                if has_load and self._is_busy():
                    break

    def _since_first(self, load: EngineLoad) -> EngineLoad:
        """Engines count preemptions since they started: here, since we first looked."""
        if self._preemptions_before is None or load.preemptions < self._preemptions_before:
            self._preemptions_before = load.preemptions
        return EngineLoad(
            running=load.running,
            waiting=load.waiting,
            kv_usage=load.kv_usage,
            preemptions=load.preemptions - self._preemptions_before,
            seen_s=load.seen_s,
        )

    def _tell(self, reason: str) -> None:
        if not self._is_told:
            self._is_told = True
            log.info("engine %s: no load from it, own counts stand: %s", self._name, reason)
