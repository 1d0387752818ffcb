"""The calls that have begun and not ended, and the effects that nobody knows of: a fold."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import Struct

from orlop.abi.calls import Call, CallTool, is_parked
from orlop.abi.effects import EffectSettled, SettledEffect, UnknownEffect
from orlop.abi.egress import Fetch
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.state.record import is_unknown

SHOWN_CHARS = 200
"""Of a request, for people."""

E = TypeVar("E", UnknownEffect, SettledEffect)


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
    """Of a tool call; likewise `tool` and `saga`."""
    tool: str = ""
    saga: str = ""
    was_cut_off: bool = False
    """An earlier call of the same effect was: unless this one returns, nobody knows any more."""


@dataclass(eq=False, slots=True)
class Calls:
    open: dict[CallId, OpenCall] = field(default_factory=dict)
    unknown: dict[tuple[ProcessId, bytes], list[UnknownEffect]] = field(default_factory=dict)
    """Effects of cut-off tool calls that were not made again, by process and digest."""
    settled: dict[tuple[ProcessId, bytes], list[SettledEffect]] = field(default_factory=dict)
    """Those of which a person has said that they happened, until their call is answered."""

    def entered(self, id: CallId, header: Header, event: CallEntered) -> None:
        body = event.body
        self.open[id] = OpenCall(
            call=id,
            process=header.process,
            tenant=header.tenant,
            seq=header.seq,
            wall_ns=header.wall_ns,
            parked=body if is_parked(body) else None,
            incarnation=event.incarnation,
            nonce=event.nonce,
            digest=header.args_digest or b"",
            effect=event.effect,
            tool=_actor(body),
            saga=body.saga if isinstance(body, CallTool) else "",
            was_cut_off=self._resolve(header, event.effect),
        )

    def ended(self, id: CallId, event: CallReturned | CallFailed) -> None:
        call = self.open.pop(id, None)
        if call is None or not call.effect:
            return
        place = (call.process, call.digest)
        is_settled = any(one.effect == call.effect for one in self.settled.get(place, ()))
        if is_settled and isinstance(event, CallReturned):
            _remove(self.settled, place, call.effect)
        elif not is_settled and isinstance(event, CallFailed) and _is_open_still(call, event):
            self.unknown.setdefault(place, []).append(
                UnknownEffect(
                    process=call.process,
                    digest=call.digest,
                    effect=call.effect,
                    call=id,
                    seq=call.seq,
                    tool=call.tool,
                    saga=call.saga,
                    wall_ns=call.wall_ns,
                    code=event.code,
                )
            )

    def judged(self, header: Header, event: EffectSettled) -> None:
        """A person has said whether an unknown effect happened."""
        place = (header.process, header.args_digest or b"")
        if _remove(self.unknown, place, event.effect) and event.happened:
            self.settled.setdefault(place, []).append(
                SettledEffect(
                    process=header.process,
                    digest=place[1],
                    effect=event.effect,
                    seq=header.seq,
                )
            )

    def _resolve(self, header: Header, effect: str) -> bool:
        """Whether a call takes over the effect of one that was cut off."""
        return _remove(self.unknown, (header.process, header.args_digest or b""), effect)

    def put(
        self,
        calls: Iterable[OpenCall],
        unknown: Iterable[UnknownEffect],
        settled: Iterable[SettledEffect],
    ) -> None:
        """From a snapshot, or with a process that arrives."""
        for call in calls:
            self.open[call.call] = call
        for left in unknown:
            self.unknown.setdefault((left.process, left.digest), []).append(left)
        for known in settled:
            self.settled.setdefault((known.process, known.digest), []).append(known)

    def drop(self, process: ProcessId) -> None:
        """The process has left the table."""
        for place in [place for place in self.unknown if place[0] == process]:
            del self.unknown[place]
        for place in [place for place in self.settled if place[0] == process]:
            del self.settled[place]

    def unknown_effects(self) -> list[UnknownEffect]:
        return [effect for effects in self.unknown.values() for effect in effects]

    def settled_effects(self) -> list[SettledEffect]:
        return [effect for effects in self.settled.values() for effect in effects]


def _remove(
    table: dict[tuple[ProcessId, bytes], list[E]], place: tuple[ProcessId, bytes], effect: str
) -> bool:
    """Take one effect of that name out; whether there was one."""
    effects = table.get(place, [])
    found = next((one for one in effects if one.effect == effect), None)
    if found is None:
        return False
    effects.remove(found)
    if not effects:
        del table[place]
    return True


def _actor(call: Call) -> str:
    """Whatever acts, as people are told of it."""
    if isinstance(call, Fetch):
        return f"{call.method} {call.url}"[:SHOWN_CHARS]
    return call.tool if isinstance(call, CallTool) else ""


def restored(
    calls: Iterable[OpenCall], unknown: Iterable[UnknownEffect], settled: Iterable[SettledEffect]
) -> Calls:
    table = Calls()
    table.put(calls, unknown, settled)
    return table


def _is_open_still(call: OpenCall, event: CallFailed) -> bool:
    """Whether nobody knows, after this outcome, if the call's effect has happened."""
    return call.was_cut_off or (event.asked and is_unknown(event.code))
