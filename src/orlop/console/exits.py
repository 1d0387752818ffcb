"""Exit codes: what a script may rely on.  `docs/cli.md` lists them."""

from typing import Final

from orlop.abi.errors import (
    BadCall,
    Broken,
    Conflict,
    Denied,
    DeviceBusy,
    Exhausted,
    JournalStopped,
    KernelError,
    Misconfigured,
    NotFound,
    NotReady,
    Unauthenticated,
)
from orlop.console import interrupt

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_KERNEL: Final = 3
NOT_FOUND: Final = 4
DENIED: Final = 5
CONFLICT: Final = 6
LIMIT: Final = 7
JOURNAL: Final = 8
BUG: Final = 9
INTERRUPTED: Final = interrupt.INTERRUPTED

MEANINGS: Final = {
    OK: "done",
    FAILED: "what was asked for failed",
    USAGE: "the command line, the call or the configuration is wrong",
    NO_KERNEL: "no kernel answers, or it is not ready",
    NOT_FOUND: "no such process, model, tool, key or schedule",
    DENIED: "no key, or one that may not do this",
    CONFLICT: "it does not fit the present state; a process diverged from its record",
    LIMIT: "a limit or a budget is reached",
    JOURNAL: "the journal is damaged, or can't be written",
    BUG: "we have a bug",
    INTERRUPTED: "interrupted by Ctrl-C",
}

# The first class that fits decides, so the narrow ones come first.
_BY_ERROR: Final[tuple[tuple[type[KernelError], int], ...]] = (
    (JournalStopped, JOURNAL),
    (NotReady, NO_KERNEL),
    (BadCall, USAGE),
    (Misconfigured, USAGE),
    (NotFound, NOT_FOUND),
    (Unauthenticated, DENIED),
    (Denied, DENIED),
    (Conflict, CONFLICT),
    (Exhausted, LIMIT),
    (DeviceBusy, LIMIT),
    (Broken, BUG),
)


def status_of(error: KernelError) -> int:
    """The exit code that tells a script what to do about `error`."""
    for kind, status in _BY_ERROR:
        if isinstance(error, kind):
            return status
    return FAILED


def status_of_process(status: int | None) -> int:
    """A process's exit status as a shell gives it: 128 + n for signal n."""
    if status is None:
        return FAILED
    return 128 - status if status < 0 else status
