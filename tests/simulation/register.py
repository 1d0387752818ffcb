"""The oracle of I9: read from the journal alone, nobody ever holds or does more than he was given.

Brute force and apart from the kernel's own tables: it asks every list of rights about every name.
"""

from collections.abc import Iterable, Sequence

from orlop.abi.calls import Ask, Call, CallTool, Embed, Grant, Infer, Revoke, Signal, Spawn
from orlop.abi.capabilities import RightGranted, RightsTaken
from orlop.abi.events import CallEntered, Event, Header
from orlop.abi.ids import ProcessId
from orlop.abi.processes import ProcessSpawned
from orlop.abi.rights import Access, Family, Rights
from orlop.access.rights import Held

Deed = tuple[Family, str, Access]


class Register:
    """Who holds what, as of the events so far.  deeds: all that anybody might do."""

    def __init__(self, deeds: Iterable[Deed]) -> None:
        self.deeds = list(deeds)
        self.held: dict[ProcessId, Rights] = {}
        self.parents: dict[ProcessId, ProcessId | None] = {}
        self.checked = 0

    def read(self, events: Sequence[tuple[Header, Event]]) -> "Register":
        for header, event in events:
            self.apply(header, event)
        return self

    def apply(self, header: Header, event: Event) -> None:
        who = header.process
        match event:
            case ProcessSpawned():
                self.held[who], self.parents[who] = event.rights, event.parent
            case RightGranted():
                given = self.allowed((event.right,))
                kept = [text for text in self.held[who] if not self.allowed((text,)) <= given]
                self.held[who] = (*kept, event.right)
            case RightsTaken():
                gone = set(event.rights)
                assert gone <= set(self.held[who]), (header.seq, event)
                self.held[who] = tuple(text for text in self.held[who] if text not in gone)
            case CallEntered():
                for deed in done(event.body):
                    assert Held(self.held[who]).allows(*deed), (header.seq, who, deed)
                    self.checked += 1
                return
            case _:
                return
        self._check_tree()

    def may(self, who: ProcessId) -> set[Deed]:
        return self.allowed(self.held[who])

    def allowed(self, texts: Rights) -> set[Deed]:
        held = Held(texts)
        return {deed for deed in self.deeds if held.allows(*deed)}

    def _check_tree(self) -> None:
        """After each event, so also if the kernel dies there."""
        for child, parent in self.parents.items():
            if parent is not None:
                assert self.may(child) <= self.may(parent), (child, parent)


def done(call: Call) -> list[Deed]:
    match call:
        case Infer() | Embed():
            return [("model", call.model, "")]
        case CallTool():
            return [("tool", call.tool, "")]
        case Spawn():
            return [("spawn", call.command[0], "")]
        case Signal():
            return [("signal", "", "")]
        case Ask():
            return [("ask", "", "")]
        case Grant() | Revoke():
            return [("grant", "", "")]
        case _:
            return []
