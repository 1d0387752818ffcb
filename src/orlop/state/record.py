"""What a process did before, as its next incarnation is answered from it.

Recorded answers are matched by (digest of the call, occurrence), so concurrent calls may come back
in another order.  Only headers are held in RAM; an answer is read from the journal when asked for.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from orlop.abi.errors import (
    DeadlineMissed,
    DeviceBusy,
    DeviceFailed,
    Interrupted,
    Killed,
    ToolFailed,
    from_code,
)
from orlop.abi.ids import Digest, Seq
from orlop.machine.latch import Latch
from orlop.state.running import Running

PAST_KEPT_MAX: Final = 64
"""Newest calls that stay in RAM for a client's own retries; older ones are in the journal."""

NEVER_TOLD: Final = (Interrupted, Killed)
"""Errors that end a call whose program, client or kernel is gone."""

UNKNOWN: Final = (Interrupted, Killed, DeadlineMissed)
"""Errors after which nobody knows whether a tool acted; so does a device that did not answer."""


class Recorded(Struct, frozen=True):
    """One call of the past.  `outcome` is None where it was cut off; `ok` where it returned."""

    intent: Seq
    digest: Digest
    incarnation: int
    outcome: Seq | None
    ok: bool
    told: bool = True
    """The program heard how it ended; one that was killed, or whose kernel was lost, did not."""
    nonce: str = ""


@dataclass(eq=False, slots=True)
class Record:
    """`answers` are what later calls may be answered from; `mode` is the incarnation's.

    Each process has one, and few have answers: hence lists, an empty deque weighs 760 bytes.
    """

    mode: str
    strict: bool
    incarnation: int
    past: list[Recorded]
    answers: dict[Digest, list[Recorded]] = field(default_factory=dict)
    order: list[Recorded] = field(default_factory=list)
    """The answers in the order of their calls; only `strict` keeps to it."""
    remaining: int = 0
    unfinished: Counter[Digest] = field(default_factory=Counter)
    parked: dict[Digest, list[Running]] = field(default_factory=dict)
    """Sleeps and waits of earlier incarnations, which went on without them."""
    forgot: bool = False
    """There were more calls in the past than `past` holds."""
    diverged: str = ""
    unpatched: frozenset[str] = frozenset()
    """Changes of the program that this incarnation was told do not apply to its run."""
    progress: Latch = field(default_factory=Latch)
    """Set and replaced whenever an answer is taken."""

    @property
    def answers_only(self) -> bool:
        """A replay computes nothing."""
        return self.mode == "replay"

    def take(self, digest: Digest) -> Recorded | None:
        """The next answer for `digest`, if the record has one (and, if strict, has it next)."""
        waiting = self.answers.get(digest)
        if not waiting:
            return None
        if self.strict and self.order[0].digest != digest:
            return None
        recorded = waiting.pop(0)
        self.order.remove(recorded)
        self.remaining -= 1
        self.progress.set()
        self.progress = Latch()
        return recorded

    def take_unfinished(self, digest: Digest) -> bool:
        """Whether a call with `digest` was cut off, and is now made again."""
        if not self.unfinished[digest]:
            return False
        self.unfinished[digest] -= 1
        return True

    def expect(self, parked: Sequence[Running]) -> None:
        """These calls will be made again, and joined then."""
        for running in parked:
            self.parked.setdefault(running.digest, []).append(running)

    def take_parked(self, digest: Digest) -> Running | None:
        """The parked call that is now made again, if there is one."""
        waiting = self.parked.get(digest)
        return waiting.pop(0) if waiting else None

    def drop(self) -> tuple[Seq, ...]:
        """Forget the answers that are left; their intents' sequence numbers."""
        dropped = tuple(recorded.intent for recorded in self.order)
        self.answers, self.order, self.remaining = {}, [], 0
        self.unfinished.clear()
        return dropped

    def remember(self, recorded: Recorded) -> None:
        """A call has just ended."""
        self.past.append(recorded)
        if len(self.past) > 2 * PAST_KEPT_MAX:
            del self.past[:-PAST_KEPT_MAX]
            self.forgot = True


def build(
    past: Sequence[Recorded],
    mode: str,
    strict: bool,
    incarnation: int,
    dropped: set[Seq],
    parked: Sequence[Running],
) -> Record:
    """The record of an incarnation that is answered from it."""
    record = Record(mode, strict, incarnation, [])
    record.expect(parked)
    for recorded in answerable(past, incarnation, dropped):
        is_answer = recorded.ok or (mode == "replay" and recorded.told)
        if recorded.outcome is None or not is_answer:
            record.unfinished[recorded.digest] += 1
        else:
            record.answers.setdefault(recorded.digest, []).append(recorded)
            record.order.append(recorded)
    record.remaining = len(record.order)
    return record


def newest(
    past: Sequence[Recorded], digest: Digest, incarnation: int, nonce: str
) -> Recorded | None:
    """The latest call with `digest` in this incarnation that its client gave the same name."""
    for recorded in reversed(past):
        same = recorded.digest == digest and recorded.nonce == nonce
        if same and recorded.incarnation == incarnation:
            return recorded
    return None


def answerable(past: Sequence[Recorded], incarnation: int, dropped: set[Seq]) -> Iterator[Recorded]:
    """Calls of earlier incarnations that are still on the process's path."""
    for recorded in past:
        if recorded.incarnation < incarnation and recorded.intent not in dropped:
            yield recorded


def is_told(code: str) -> bool:
    """Whether a program may have heard of an error with that code."""
    return not isinstance(from_code(code, ""), NEVER_TOLD)


def is_unknown(code: str) -> bool:
    """Whether a tool call that ended so may have acted."""
    error = from_code(code, "")
    return isinstance(error, UNKNOWN) or (
        isinstance(error, DeviceFailed) and not isinstance(error, ToolFailed | DeviceBusy)
    )
