"""Fault points: named places where a test may end the program, as a power cut would.

`ORLOP_FAULT=NAME:N` ends the process with SIGKILL at the Nth passing of point NAME; the simulation
installs a hook of its own.  Without either, a point is one comparison with None.
"""

import os
import signal
from collections.abc import Callable

Hook = Callable[[str], None]
_hook: Hook | None = None


def point(name: str) -> None:
    """Somewhere a crash would be interesting."""
    if _hook is not None:
        _hook(name)


def install(hook: Hook | None) -> None:
    global _hook
    _hook = hook


def install_from(value: str) -> None:
    """`NAME:N` as in the environment variable; an empty value installs nothing."""
    if not value:
        return
    wanted, _, count = value.partition(":")
    left = int(count or "1")

    def kill(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    install(kill)
