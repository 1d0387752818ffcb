"""Tools end with their kernel, also where that is killed; and the next kernel knows that they have.

Each command runs under a warden of its own, which holds the read end of a pipe whose write end only
this kernel has, and a lock on a file of this kernel.  The lock is free when the kernel and all of
its wardens are gone, and a warden goes after all that its command had started.
"""

import fcntl
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from orlop.machine.clock import Clock

LOOK_S: Final = 0.02
"""Between two looks at an earlier kernel's lock: its tools die within milliseconds."""


Seal: TypeAlias = Callable[
    [Sequence[str], Mapping[str, str], str], Awaitable[tuple[Sequence[str], Mapping[str, str]]]
]
"""Command, environment and folder to what is started in their place: the same in a sandbox.

Raises `NotReady` where there is none."""


class Lifeline:
    """Of one kernel.

    folder: where kernels of this home keep their locks.  script: the warden's, by path.
    """

    def __init__(self, folder: Path, script: Path, clock: Clock) -> None:
        self._folder = folder
        self._script = script
        self._clock = clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.glob("*.lock"):
            _forgotten(path)
        self._lock, name = tempfile.mkstemp(suffix=".lock", dir=folder)
        self._own = Path(name)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._held, self._write_end = os.pipe()
        self._is_alone = False

    @property
    def descriptors(self) -> tuple[int, int]:
        """That a warden inherits."""
        return self._held, self._lock

    def under(self, command: Sequence[str]) -> tuple[str, ...]:
        """The command line that runs `command` under a warden."""
        held = (str(self._held), str(self._lock))
        return (sys.executable, "-I", "-S", str(self._script), *held, *command)

    async def alone(self) -> None:
        """Return when no tool of an earlier kernel runs any more, however long that takes."""
        while not self._is_alone:
            others = [path for path in self._folder.glob("*.lock") if path != self._own]
            self._is_alone = all(_forgotten(path) for path in others)
            if not self._is_alone:
                await self._clock.sleep(LOOK_S)

    def close(self) -> None:
        """What still runs is killed."""
        os.close(self._write_end)
        os.close(self._held)
        os.close(self._lock)


def _forgotten(path: Path) -> bool:
    """Whether nobody holds the file any more; then it is removed."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(handle)
