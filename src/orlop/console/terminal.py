"""A terminal lent for a picture that is drawn again and again, and given back as it was.

The picture lies on the terminal's other screen, so what was there before is there again.
"""

import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from orlop.machine import plain_clock

OTHER_SCREEN: Final = "\x1b[?1049h\x1b[?25l"
OWN_SCREEN: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
CLEAR_LINE: Final = "\x1b[K"
CLEAR_BELOW: Final = "\x1b[J"
QUIT: Final = ("q", "Q", "\x03", "\x1b")


class Lent:
    """What can be done with it meanwhile."""

    def __init__(self, has_keys: bool) -> None:
        self._has_keys = has_keys

    def draw(self, text: str) -> None:
        """Show `text` from the top, cut at the edges; nothing is blanked, so nothing flickers."""
        columns, lines = shutil.get_terminal_size()
        shown = text.splitlines()[: max(1, lines - 1)]
        cut = "".join(f"{cut_at(line, columns)}{CLEAR_LINE}\n" for line in shown)
        sys.stdout.write(f"{HOME}{cut}{CLEAR_BELOW}")
        sys.stdout.flush()

    def pause(self, delay_s: float) -> bool:
        """Wait; True where the user wants to leave."""
        if not self._has_keys:
            plain_clock.pause(delay_s)
            return False
        ends_s = plain_clock.now_s() + delay_s
        while (left_s := ends_s - plain_clock.now_s()) > 0:
            ready, _, _ = select.select([sys.stdin], [], [], left_s)
            if ready and sys.stdin.read(1) in QUIT:
                return True
        return False


@contextmanager
def lent() -> Iterator[Lent]:
    """The terminal, until the block ends, however it ends: SIGTERM and SIGHUP end it too."""
    has_keys = sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if has_keys else None
    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        sys.stdout.write(OTHER_SCREEN)
        if has_keys:
            tty.setcbreak(sys.stdin)
        yield Lent(has_keys)
    finally:
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(OWN_SCREEN)
        sys.stdout.flush()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def cut_at(line: str, columns: int) -> str:
    """At most `columns` characters; escape sequences take no room."""
    room, shown, at = columns, [], 0
    while at < len(line):
        if line[at] == "\x1b":
            end = line.find("m", at)
            end = len(line) if end < 0 else end + 1
            shown.append(line[at:end])
            at = end
        else:
            if room > 0:
                shown.append(line[at])
            room -= 1
            at += 1
    return "".join(shown)


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
