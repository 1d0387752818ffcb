"""Fault points: named places where a test may end the program, as a power cut would.

`ORLOP_FAULT=NAME:N` ends the process with SIGKILL at the Nth passing of point NAME;
`ORLOP_FAULT=@FILE` does what the next line of FILE says, and strikes that line out, so that each
start of the process takes another.  The simulation installs a hook of its own.  Without any, a
point is one comparison with None.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

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
    """The environment variable's value; an empty one installs nothing."""
    if value.startswith("@"):
        value = _next_line(Path(value[1:]))
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


def _next_line(plan: Path) -> str:
    """Take the first line out of a file; empty where there is none."""
    first, _, rest = plan.read_text().partition("\n")
    plan.write_text(rest)
    return first
