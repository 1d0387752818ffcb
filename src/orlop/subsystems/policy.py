"""The policy at the door: what the rules say of a call, before anything of it has begun.

A recorded answer was decided on when it was given; only what runs anew is asked about.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from orlop.abi.calls import Call, Embed, Infer
from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import KernelError, RuleForbids
from orlop.abi.ids import CallId, EngineName, Seq
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.abi.policy import Decision, Difference, PolicyRefused
from orlop.access.policy import Place, Policy
from orlop.access.policy_words import Entity
from orlop.people import trust
from orlop.state import codec, policy_facts
from orlop.state.core import Kernel
from orlop.state.guard import Guard
from orlop.state.policy_facts import Asked, World
from orlop.state.process import Process
from orlop.state.process_table import Row
from orlop.state.running import Running
from orlop.subsystems import devices, forms, ladders

log = logging.getLogger(__name__)

PLACED = frozenset({"engine", "device", "region"})
"""Facts that differ from engine to engine: a rule that looks at them may leave some of them."""

ORDER = ("permit", "ask", "forbid")

Said: TypeAlias = tuple[Decision, frozenset[EngineName] | None]
"""A verdict, and the engines that it leaves (None: no rule looks at them)."""


def judge(kernel: Kernel, process: Process, running: Running) -> None:
    """Ask the rules of a call; what they say is `running.decision`.  Raises `RuleForbids`.

    An `ask` is left to whoever asks people.  Costs nothing where nothing is set.
    """
    if kernel.guard.is_idle and not kernel.guard.own:
        return
    guards = kernel.guard.over(process.row.tenant)
    if not guards:
        return
    world, now_ns = world_of(kernel), kernel.clock.wall_ns()
    running.decision, running.engines = None, None
    for call in _meant(kernel, running.call):
        for action, thing in policy_facts.things(kernel.tables, world, process.row, call):
            asked = Asked(
                tables=kernel.tables,
                row=process.row,
                call=call,
                action=action,
                resource=thing.id,
                labels=running.labels,
                now_ns=now_ns,
                world=world,
            )
            _judge(kernel, guards, process, running, asked, thing)


def _meant(kernel: Kernel, call: Call) -> Sequence[Call]:
    """What rules are asked of: of a ladder, a call to each of its models."""
    return ladders.models(kernel, call) if isinstance(call, Infer) else (call,)


def _judge(
    kernel: Kernel,
    guards: Sequence[Guard],
    process: Process,
    running: Running,
    asked: Asked,
    thing: Entity,
) -> None:
    """One thing that the call is done to.  Of several, what a person is asked of stays."""
    decision, engines = together(kernel, guards, asked, thing, running.id)
    if running.decision is None or decision.verdict != "permit":
        running.decision, running.engines = decision, engines
    elif running.engines is not None:  # Another model of a ladder, on engines of its own.
        running.engines = None if engines is None else running.engines | engines
    if decision.verdict == "forbid":
        _refuse(kernel, process, running, decision, asked)


def together(
    kernel: Kernel, guards: Sequence[Guard], asked: Asked, thing: Entity, call: CallId
) -> Said:
    """What the strictest of several sets says, and the engines that all of them leave."""
    found: Said = (Decision(), None)
    for guard in guards:
        said = decided(kernel, guard.policy, asked, thing)
        if guard.shadow is not None:
            _compare(kernel, guard, asked, thing, said[0], call)
        counted(guard, said[0])
        found = said if guard is guards[0] else stricter(found, said)
    return found


def stricter(one: Said, other: Said) -> Said:
    first = ORDER.index(one[0].verdict) >= ORDER.index(other[0].verdict)
    decision = one[0] if first else other[0]
    if one[1] is None or other[1] is None:
        return decision, other[1] if one[1] is None else one[1]
    engines = one[1] & other[1]
    if not engines and decision.verdict != "forbid":
        reason = "the installation's rules and the tenant's leave no engine in common"
        decision = replace(decision, verdict="forbid", rules=(), reason=reason)
    return decision, engines


def counted(guard: Guard, decision: Decision) -> None:
    guard.verdicts[decision.verdict] += 1
    guard.tally.decisions += 1
    guard.tally.by_rule.update(decision.rules)
    guard.tally.refused += decision.verdict == "forbid"
    guard.tally.asked += decision.verdict == "ask"


def decided(kernel: Kernel, policy: Policy, asked: Asked, thing: Entity) -> Said:
    """What one set of rules says."""
    place = policy.place(asked.action, policy_facts.subject(asked.row), thing)
    call = asked.call
    if place.part.wants.isdisjoint(PLACED) or not isinstance(call, Infer | Embed):
        return policy.decide(place, asked.facts), None
    return _placed(kernel, policy, place, asked, call)


def _placed(
    kernel: Kernel, policy: Policy, place: Place, asked: Asked, call: Infer | Embed
) -> Said:
    """The mildest of what is said of each engine that could serve, and those it is said of."""
    found = dict[EngineName, Decision]()
    for engine, device, region in _candidates(kernel, call, asked.row):
        there = dataclasses.replace(asked, engine=engine, device=device, region=region)
        found[engine] = policy.decide(place, there.facts)
    if not found:
        return policy.decide(place, asked.facts), None
    mildest = min(found.values(), key=lambda decision: ORDER.index(decision.verdict))
    left = [engine for engine, said in found.items() if said.verdict == mildest.verdict]
    return mildest, frozenset(left)


def _candidates(
    kernel: Kernel, call: Infer | Embed, row: Row
) -> Iterator[tuple[EngineName, str, str]]:
    """Engines that could serve, with their device and its region.  None, where that fails: then
    the call fails by itself, and says why."""
    kind: ModelKind = "embed" if isinstance(call, Embed) else "chat"
    try:
        cards = forms.find(kernel, call.model, kind, call.hints)
        cards = devices.eligible(kernel, cards, call.hints, row.tenant)
    except KernelError:
        return
    for engine in dict.fromkeys(card.engine for card in cards):
        device = kernel.devices.device_of(engine)
        region = str(device.facts().get("region", "")) if device is not None else ""
        yield engine, device.name if device is not None else "", region


def _refuse(
    kernel: Kernel, process: Process, running: Running, decision: Decision, asked: Asked
) -> None:
    """Say it in the journal, at most so many times a minute of one process, and to the caller."""
    process.refused += 1
    is_writable = kernel.journal.stopped is None
    if process.refusals.tell(kernel.clock.wall_ns(), is_writable=is_writable):
        event = PolicyRefused(
            decision=compact(decision),
            action=asked.action,
            resource=asked.resource,
            body=codec.plain(running.call),
            labels=tuple(sorted(running.labels)),
        )
        kernel.emit(process.id, process.row.tenant, event, call=running.id)
    raise RuleForbids(f"{said(asked.action, asked.resource, decision)} ({running.id})")


def said(action: str, resource: str, decision: Decision) -> str:
    """For the refused."""
    what = f"{action} {resource[:NAME_CHARS_MAX]}"
    if not decision.rules:
        return f"{what} is refused: {decision.reason}"
    why = f": {decision.reason}" if decision.reason else ""
    return f"{what} is refused by {', '.join(decision.rules)}{why}"


def compact(decision: Decision) -> Decision:
    """As the journal keeps it: the arguments of a tool are in the call itself."""
    if "arguments" not in decision.facts:
        return decision
    facts = {name: value for name, value in decision.facts.items() if name != "arguments"}
    return replace(decision, facts=facts)


def recorded(kernel: Kernel, running: Running) -> Decision | None:
    """What goes into the journal with the intent; nothing where no policy is set."""
    decision, house = running.decision, kernel.guard
    if decision is None or (house.policy.is_open and not house.own):
        return None
    return compact(decision)


def _compare(
    kernel: Kernel, guard: Guard, asked: Asked, thing: Entity, was: Decision, call: CallId
) -> None:
    """What a second set would have said; nothing comes of it but a count."""
    assert guard.shadow is not None
    try:
        now, _ = decided(kernel, guard.shadow, asked, thing)
    except Exception:  # A set that is only tried out must harm no call, whatever is wrong with it.
        log.exception("the shadow policy could not be asked of %s", call)
        return
    guard.shadow_tally.decisions += 1
    guard.shadow_tally.by_rule.update(now.rules)
    if now.verdict != was.verdict:
        guard.differing += 1
        guard.differences.append(
            Difference(
                call=call,
                pid=asked.row.pid,
                agent=asked.row.name,
                action=asked.action,
                resource=asked.resource,
                was=was,
                now=now,
                wall_ns=asked.now_ns,
                seq=Seq(kernel.journal.head_seq),
            )
        )


def world_of(kernel: Kernel) -> World:
    """What exists beside the journal, as rules see it."""
    if kernel.guard.world is None:
        kernel.guard.world = World(
            tool=kernel.tools.card,
            model=lambda name: _model(kernel, name),
            zone=kernel.guard.zone,
            autonomy=lambda row, tool: autonomy(kernel, row, tool),
        )
    return kernel.guard.world


def _model(kernel: Kernel, name: str) -> ModelCard | None:
    """One card for all that serve `name`; it is paid for if any of them is."""
    known = kernel.registry.named(name)
    if not known:
        return None
    return replace(known[0], paid=any(card.paid for card in known))


def autonomy(kernel: Kernel, row: Row, tool: str) -> str:
    """How far the agent is trusted with the tool: of several types of tasks, with the least."""
    return trust.level_of(kernel, row.tenant, row.name, tool)
