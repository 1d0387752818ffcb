"""The calls that have begun and not ended, and the effects that nobody knows of: a fold."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from orlop.abi.calls import PARKED, Call
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.kernel.record import is_unknown


class OpenCall(Struct, frozen=True, kw_only=True):
    """An intent without an outcome."""

    call: CallId
    process: ProcessId
    tenant: TenantId
    seq: Seq
    wall_ns: Nanoseconds
    parked: Call | None
    """The call itself if it is parked: it is re-armed at boot."""
    incarnation: int = 0
    nonce: str = ""
    digest: bytes = b""
    effect: str = ""
    """Of a tool call."""
    was_cut_off: bool = False
    """An earlier call of the same effect was: unless this one returns, nobody knows any more."""


class UnknownEffect(Struct, frozen=True):
    """A tool call began and was cut off: whether it took effect, only its tool may know."""

    process: ProcessId
    digest: bytes
    effect: str


@dataclass(eq=False, slots=True)
class Calls:
    open: dict[CallId, OpenCall] = field(default_factory=dict)
    unknown: dict[tuple[ProcessId, bytes], list[str]] = field(default_factory=dict)
    """Effects of cut-off tool calls that were not made again, by process and digest."""

    def entered(self, id: CallId, header: Header, event: CallEntered) -> None:
        self.open[id] = OpenCall(
            call=id,
            process=header.process,
            tenant=header.tenant,
            seq=header.seq,
            wall_ns=header.wall_ns,
            parked=event.body if isinstance(event.body, PARKED) else None,
            incarnation=event.incarnation,
            nonce=event.nonce,
            digest=header.args_digest or b"",
            effect=event.effect,
            was_cut_off=self._resolve(header, event.effect),
        )

    def ended(self, id: CallId, event: CallReturned | CallFailed) -> None:
        call = self.open.pop(id, None)
        if call is not None and call.effect and _is_open_still(call, event):
            self.unknown.setdefault((call.process, call.digest), []).append(call.effect)

    def _resolve(self, header: Header, effect: str) -> bool:
        """Whether a call takes over the effect of one that was cut off."""
        place = (header.process, header.args_digest or b"")
        effects = self.unknown.get(place)
        if effects is None or effect not in effects:
            return False
        effects.remove(effect)
        if not effects:
            del self.unknown[place]
        return True

    def drop(self, process: ProcessId) -> None:
        """The process has left the table."""
        for place in [place for place in self.unknown if place[0] == process]:
            del self.unknown[place]

    def unknown_effects(self) -> list[UnknownEffect]:
        return [
            UnknownEffect(process, digest, effect)
            for (process, digest), effects in self.unknown.items()
            for effect in effects
        ]


def restored(calls: Iterable[OpenCall], effects: Iterable[UnknownEffect]) -> Calls:
    table = Calls(open={call.call: call for call in calls})
    for left in effects:
        table.unknown.setdefault((left.process, left.digest), []).append(left.effect)
    return table


def _is_open_still(call: OpenCall, event: CallReturned | CallFailed) -> bool:
    """Whether nobody knows, after this outcome, if the call's effect has happened."""
    if not isinstance(event, CallFailed):
        return False
    return call.was_cut_off or (event.asked and is_unknown(event.code))
