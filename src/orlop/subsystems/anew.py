"""A call that waits, and what can serve it by now.

An engine may come back, or load the call's model, while the call waits for others.  It is not for
such a call to watch for that: `Turns.news` asks here, and the scheduler places it anew.
"""

from collections.abc import Sequence

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import KernelError
from orlop.abi.ids import EngineName
from orlop.sched.work import Work
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import ladders, seating, ways
from orlop.subsystems.held import Held


class Anew:
    """Gives the engines that can serve a call now, and keeps their models as the others are kept.

    cards: of what was let serve it at the door; others must cost nothing, since nothing is held for
    them.  seats: of the engines that it waits for, each with its card; more come in here.
    """

    __slots__ = ("_cards", "_held", "_kernel", "_model", "_process", "_running", "_seats", "_work")

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        running: Running,
        held: Held,
        model: str,
        cards: Sequence[ModelCard],
        seats: dict[EngineName, ModelCard],
        work: Work,
    ) -> None:
        self._kernel = kernel
        self._process = process
        self._running = running
        self._held = held
        self._model = model
        self._cards = cards
        self._seats = seats
        self._work = work

    def __call__(self) -> tuple[str, ...]:
        """As it was, where nothing can serve it now: then its own engines say why."""
        kernel, work, call = self._kernel, self._work, self._running.call
        kind: ModelKind = "embed" if isinstance(call, Embed) else "chat"
        try:
            found = ladders.cards(kernel, self._process, self._running, self._model, kind)
            known = {card.engine for card in self._cards}
            may = [card for card in found if card.engine in known or not card.paid]
            seats = seating.seats(kernel, self._process, self._held.more(may))
        except KernelError:
            return work.candidates
        self._seats.update(seats)
        if isinstance(call, Infer):
            size = seating.size(self._running, call)
            work.start_s = ways.starts_s(kernel, seats, size, work.output_tokens)
        return tuple(seats)
