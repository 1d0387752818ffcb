"""Where this process writes what it prints, and how that stays within bounds."""

import os
import sys
from contextlib import suppress
from pathlib import Path


def speak_to(path: Path) -> None:
    """From here on this process reads nothing, and what it prints goes to the end of a file."""
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)


def turn_over(path: Path, bytes_max: int) -> bool:
    """Begin anew where more than that was printed to `path`; the old pages are in `PATH.1`.

    False: not yet, or what this process prints goes elsewhere.
    """
    with suppress(OSError):
        ours, there = os.fstat(2), path.stat()
        if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino) and ours.st_size > bytes_max:
            path.replace(path.with_name(f"{path.name}.1"))
            speak_to(path)
            return True
    return False
