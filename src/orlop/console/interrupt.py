"""Ctrl-C where there is nothing to tidy up: before a command begins, and after it has ended.

While modules are read, a `KeyboardInterrupt` would end in one of them, and be shown in Python's own
words; some of these can't be caught (in a `__set_name__`, in a hook of the importer).  Imports as
little as can be, since it is loaded first.
"""

import os
import signal
from types import FrameType
from typing import Final

INTERRUPTED: Final = 130
"""The exit code, as shells give it for a program that Ctrl-C has ended."""


def leave_at_once() -> None:
    """From here on Ctrl-C ends the program; where it was ignored (`nohup`, `&`) it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def tidy_up_first() -> None:
    """From here on Ctrl-C is a `KeyboardInterrupt`."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """What was printed is out already: `click.echo` flushes."""
    os._exit(INTERRUPTED)
