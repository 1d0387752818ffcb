"""Following a process on the terminal: its output, the keyboard's Ctrl-C, its end.

Neither a restart of the process nor one of the kernel ends it, and no byte is shown twice.
"""

import signal
from types import FrameType
from typing import Final

import click

from orlop.abi.admin import OutputLine, ProcessView
from orlop.abi.errors import JournalAway, NotReady
from orlop.abi.limits import JOURNAL_AWAY_S
from orlop.console.screen import show_json_line
from orlop.machine import plain_clock
from orlop.sdk.exchange import LostAnswer
from orlop.sdk.operator import Operator

RESTART_POLL_S: Final = 0.2
AWAY_POLL_S: Final = 1.0


def attend(operator: Operator, process: ProcessView, *, as_json: bool) -> ProcessView:
    """Follow a process as its terminal: the first Ctrl-C is passed on, the second kills it."""
    interrupts = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        # Not by an exception: that could come between showing a line and knowing that it is shown.
        nonlocal interrupts
        interrupts += 1
        operator.signal(process.id, "int" if interrupts == 1 else "kill")

    before = signal.signal(signal.SIGINT, pass_on)
    try:
        follower = Follower(operator, process, "all", as_json=as_json)
        while (ended := follower.read_on()) is None:
            pass
        return ended
    finally:
        signal.signal(signal.SIGINT, before)


def show_line(line: OutputLine) -> None:
    click.echo(line.text, nl=False, err=line.stream == "err")


class Follower:
    """Knows which incarnation is being shown, and how far each of its streams has been.

    A program may be started again, and end, before its last incarnation has been read to its end:
    each one is shown, in their order.
    """

    def __init__(
        self, operator: Operator, process: ProcessView, stream: str, *, as_json: bool
    ) -> None:
        self._operator = operator
        self._process = process
        self._incarnation = process.incarnation
        self._stream = stream
        self._show = show_json_line if as_json else show_line
        self._shown_bytes = {"out": 0, "err": 0}

    def read_on(self) -> ProcessView | None:
        """Show what comes until the output ends or is cut off; the process, if that has ended."""
        try:
            for line in self._operator.output(
                self._process.id, stream=self._stream, incarnation=self._incarnation, follow=True
            ):
                self._show_new(line)
            view = self._operator.wait(self._process.id, RESTART_POLL_S)
        except (LostAnswer, NotReady):
            # The kernel is away; the next question waits for it as long as it is worth.
            plain_clock.pause(RESTART_POLL_S)
            self._await_kernel()
            return None
        now = view or self._operator.process(self._process.id)
        if now.incarnation > self._incarnation:
            self._incarnation += 1
            self._shown_bytes = {"out": 0, "err": 0}
            return None
        if view is None:
            plain_clock.pause(RESTART_POLL_S)
        return view

    def _await_kernel(self) -> None:
        """Also where it has no journal, since then the process waits too."""
        give_up_s: float | None = None
        while True:
            try:
                self._operator.process(self._process.id)
            except JournalAway as away:
                now_s = plain_clock.now_s()
                if give_up_s is None:
                    give_up_s = now_s + JOURNAL_AWAY_S
                    said = f"no journal for now; waiting for at most {JOURNAL_AWAY_S:g} s"
                    click.echo(f"{said}: {away.message}", err=True)
                if now_s >= give_up_s:
                    raise
                plain_clock.pause(AWAY_POLL_S)
            else:
                return

    def _show_new(self, line: OutputLine) -> None:
        new_bytes = line.offset - self._shown_bytes[line.stream]
        if new_bytes > 0:
            text = line.text.encode()[-new_bytes:].decode(errors="replace")
            self._show(OutputLine(stream=line.stream, offset=line.offset, text=text))
            self._shown_bytes[line.stream] = line.offset
