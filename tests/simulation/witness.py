"""What agents were told, kept where no crash reaches: the journal must agree with it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Call, Infer, Sleep
from orlop.abi.contexts import Context
from orlop.abi.egress import Fetched
from orlop.abi.files import Changed, Contents, Found, Listing
from orlop.abi.hints import Facts
from orlop.abi.ids import CallId, Seq
from orlop.abi.memory import Forgotten, Recalled, Remembered
from orlop.abi.replies import (
    Answer,
    Completion,
    Done,
    Exited,
    Ok,
    Patched,
    Spawned,
    ToolResult,
    Vectors,
)
from orlop.abi.sagas import SagaBegun, SagaOver


@dataclass(frozen=True, slots=True)
class Told:
    """`answer`: what was said, without how it was served.  `paid`: computations until then."""

    seq: Seq
    answer: bytes
    call: Call
    paid: int


@dataclass(eq=False, slots=True)
class Witness:
    """paid_for: how often an engine has computed a call to its end."""

    paid_for: Callable[[Infer], int]
    steps: dict[str, Told] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    """Steps whose effect was reported unknown."""
    twice: defaultdict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    """Orders to be given twice; for each time that both were answered, whether nothing was lost
    on the way, so that no retry can have joined the two."""

    def told(self, name: str, call: Call, done: Done) -> None:
        """Once told, told for ever: the same answer, and nothing computed since."""
        answer = said(done)
        paid = self.paid_for(call) if isinstance(call, Infer) else 0
        before = self.steps.get(name)
        if before is None:
            self.steps[name] = Told(done.facts.seq, answer, call, paid)
            return
        assert before.answer == answer, f"{name}: told {before.answer!r}, now {answer!r}"
        if isinstance(call, Sleep):
            return  # Two sleeps of one length are one and the same call.
        assert before.seq == done.facts.seq, f"{name}: event {before.seq}, now {done.facts.seq}"


def said(done: Done) -> bytes:  # noqa: C901 (one row a reply)
    """The answer as its caller sees it, but for how it was served."""
    bare = Facts(call=CallId(""))
    match done:
        case Completion():
            return msgspec.json.encode(replace(done, facts=bare))
        case Vectors():
            return msgspec.json.encode(replace(done, facts=bare))
        case Fetched():
            return msgspec.json.encode(replace(done, facts=bare))
        case ToolResult():
            return msgspec.json.encode(replace(done, facts=bare))
        case Spawned():
            return msgspec.json.encode(replace(done, facts=bare))
        case Exited():
            return msgspec.json.encode(replace(done, facts=bare))
        case Patched():
            return msgspec.json.encode(replace(done, facts=bare))
        case Answer():
            return msgspec.json.encode(replace(done, facts=bare))
        case Changed() | Contents() | Listing() | Found() | Context():
            return msgspec.json.encode(replace(done, facts=bare))
        case Remembered() | Recalled() | Forgotten():
            return msgspec.json.encode(replace(done, facts=bare))
        case SagaBegun():
            return msgspec.json.encode(replace(done, facts=bare))
        case SagaOver():
            return msgspec.json.encode(replace(done, facts=bare))
        case Ok():
            return msgspec.json.encode(replace(done, facts=bare))
