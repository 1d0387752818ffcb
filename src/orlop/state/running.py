"""One system call in flight.

Invariant: a call ends exactly once.  Until it concludes it may be cancelled; from `concluding` on
its outcome is being written, and nothing can take that back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from orlop.abi.calls import Call, is_parked
from orlop.abi.errors import KernelError, Killed
from orlop.abi.events import CallEntered
from orlop.abi.files import FilesChanged
from orlop.abi.ids import CallId, Digest, EngineName, ProcessId, Seq
from orlop.abi.limits import REPLIES_UNREAD_MAX, UNHEARD_S_MAX
from orlop.abi.policy import Decision
from orlop.abi.replies import Delta, Done, Reply
from orlop.access.rights import Narrowing
from orlop.access.taint import CLEAN, Labels
from orlop.machine.channel import Channel
from orlop.machine.latch import Latch
from orlop.state.web import Sink
from orlop.store.rows import Part


@dataclass(frozen=True, slots=True)
class Taken:
    """A person has done it in the agent's place, with this result."""

    result: object
    person: str


class Phase(Enum):
    ENTERING = "entering"
    RUNNING = "running"
    CONCLUDING = "concluding"
    ENDED = "ended"


@dataclass(eq=False, slots=True)
class Brief:
    """A call that writes files, until its one event is written."""

    entered: CallEntered
    changed: FilesChanged | None = None
    sizes: Sequence[int] = ()


@dataclass(eq=False, slots=True)
class Running:
    """`replies` carries the deltas and then exactly one `Done`, or ends in one `KernelError`."""

    id: CallId
    process: ProcessId
    call: Call
    digest: Digest
    """Of what the call means: equal calls are answered alike."""
    started_s: float
    """When it came, on the kernel's clock."""
    replies: Channel[Reply] = field(default_factory=lambda: Channel(REPLIES_UNREAD_MAX))
    phase: Phase = Phase.ENTERING
    seq: Seq = Seq(0)
    """Of the intent, once entered."""
    effect: str = ""
    """Of a tool call: its effect's name."""
    asked: bool = False
    """Of its device: from then on nobody can be sure that nothing was used or done."""
    incarnation: int = 0
    """Of the process, when it made the call."""
    nonce: str = ""
    """The client's own name for this one call; empty where it has none (official clients)."""
    shown: CallId | None = None
    """The first occurrence, where that is what answers it."""
    asked_s: float = 0.0
    """When that was."""
    waited_s: float = 0.0
    """Of `queue_s`, what was before that."""
    tries: int = 0
    """Times that its tool was run."""
    queue_s: float = 0.0
    """How long it has waited for seats in all."""
    labels: Labels = CLEAN
    """Where what it was made from came from."""
    decision: Decision | None = None
    """What the policy says of it."""
    engines: frozenset[EngineName] | None = None
    """Those that a rule lets serve it; None: any."""
    size: int = 0
    """Bytes of what a model is shown."""
    narrowing: Narrowing | None = None
    """What its token leaves of its process's rights."""
    token: str = ""
    """Its token, if that has a budget of its own."""
    root: str = ""
    """How its conversation began: equal for all calls of one, where the client names none."""
    rung: str = ""
    """What it has become, where it could not be served as it was asked for."""
    keep: bool = False
    """The client's leaving does not end it: the result will be asked for again."""
    cleared_by: str = ""
    """What let it through where people are asked otherwise: a question, a grant, an autonomy."""
    taken: Taken | None = None
    edited: dict[str, object] | None = None
    """The arguments that a person has put in the place of its own."""
    detached: bool = False
    """Its client will ask for the answer by the call's id."""
    promised: bool = False
    """It waits for a person, and the journal says so: it outlives the kernel."""
    waits_for: str = ""
    """The question that it waits for now."""
    parts: tuple[Part, ...] = ()
    """The content that it brings, for the event that it will lie beside."""
    brief: Brief | None = None
    """It is over before anything else happens, and is recorded as one event then."""
    onward: Sink | None = None
    """Takes an answer from outside piece by piece as it comes, where its caller wants that."""
    deltas: list[Delta] = field(default_factory=list)
    done: Done | None = None
    task: asyncio.Task[None] | None = None
    """Its own, once that runs: a task that is cancelled before its first step never takes one,
    and its caller would wait for ever."""
    ended: Latch = field(default_factory=Latch)
    heard: Latch | None = None
    """Set while somebody waits for its answer, of a parked call whose client asks for that again
    and again; None: whoever made it waits all the time."""
    _verdict: KernelError | None = None

    @property
    def is_parked(self) -> bool:
        """It waits in the journal too, so it outlives the program that made it."""
        return is_parked(self.call) and self.seq > 0

    @property
    def reply_id(self) -> CallId:
        """The id that its reply is known by; known at the first reply."""
        return self.shown or self.id

    def ask(self, now_s: float) -> None:
        """Its device is asked, for the first time or, where it gave its seat back, again."""
        if not self.asked:
            self.asked, self.asked_s, self.waited_s = True, now_s, self.queue_s

    def ran_s(self, now_s: float) -> float:
        """How long it has had a device."""
        if not self.asked:
            return 0.0
        return max(0.0, now_s - self.asked_s - (self.queue_s - self.waited_s))

    def put(self, delta: Delta) -> None:
        """A piece of the answer: kept for the record, passed on at once."""
        self.deltas.append(delta)
        self.replies.put_nowait(delta)

    def cancel(self, verdict: KernelError) -> None:
        """End it with `verdict`, unless its outcome is being written already."""
        if self.phase in (Phase.ENTERING, Phase.RUNNING) and self._verdict is None:
            self._verdict = verdict
            if self.task is not None:
                self.task.cancel()

    def require_wanted(self) -> None:
        """Raises the verdict on a call that was cancelled before its first step."""
        if self._verdict is not None:
            raise self._verdict

    def verdict(self) -> KernelError:
        """Why it was cancelled."""
        return self._verdict or Killed(f"call {self.id} was cancelled")

    def leave(self) -> None:
        """Its client has gone."""
        if not self.keep:
            self.cancel(Killed("the client left before the call was done"))

    def hear(self) -> None:
        """Somebody waits for its answer again."""
        if self.heard is not None:
            self.heard.set()

    def let_be(self) -> None:
        """Nobody waits for its answer now; somebody may again."""
        if self.heard is None:
            self.heard = Latch()
        self.heard.clear()

    async def wanted(self) -> None:
        """Returns when somebody waits for its answer.  Raises `Killed` if nobody does for long."""
        if self.heard is None:
            return
        try:
            async with asyncio.timeout(UNHEARD_S_MAX):
                await self.heard.wait()
        except TimeoutError as error:
            raise Killed(
                f"nobody has asked for the answer of call {self.id} for {UNHEARD_S_MAX:g} s "
                "(UNHEARD_S_MAX)"
            ) from error

    def finish(self, done: Done | None, error: KernelError | None) -> None:
        """Tell the reader how it ended.  Called once, last."""
        self.phase = Phase.ENDED
        self.done = done
        if done is not None:
            self.replies.put_nowait(done)
        self.replies.close(error)
        self.deltas = []
        self.ended.set()
