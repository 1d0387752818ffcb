"""Progressive autonomy as it happens: what a call may do now, and who moves a level."""

from dataclasses import dataclass
from hashlib import sha256

import msgspec

from orlop.abi.autonomy import (
    LEVELS,
    AutonomyKey,
    AutonomyMoved,
    AutonomyRow,
    AutonomyView,
    IncidentOrder,
    Level,
    LevelOrder,
)
from orlop.abi.calls import CallTool, Infer
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, NotFound
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ProcessId, TenantId
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.abi.questions import Touch
from orlop.people import rules, staff
from orlop.people.chains import fits
from orlop.people.confidence import confidence_at, look, lower_bound, next_look
from orlop.people.house import House, Speaker
from orlop.people.rules import AutonomyConfig

MOVES_MAX = 3
"""That one look at a row may find due: each begins its evidence anew, so a second is rare."""

MEETS: dict[Level, str] = {
    "observe": "is not made; what it would have done is written down, for people to judge",
    "suggest": "is put to a person, who does it himself and says what came of it",
    "approve": "waits until a person has agreed to it",
    "sample": "waits for a person if it is drawn, and goes through otherwise",
    "autonomous": "goes through",
}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule says of one call.  is_asked: a person must agree to it."""

    row: AutonomyRow
    rule: AutonomyConfig
    is_asked: bool
    reason: str


def ruling(
    house: House,
    process: ProcessId,
    tenant: TenantId,
    agent: str,
    program: str,
    call: CallTool,
    card: ToolCard,
    *,
    was_denied: bool,
) -> Ruling | None:
    """None: no rule is about this call.  program: the agent program's version.

    was_denied: this very call was; then it is not left to chance.  Draws at level `sample`.
    """
    rule = house.desk.rules.get(rules.rule_for(house.desk.rules, call.tool, agent))
    if rule is None:
        return None
    task = call.hints.task_type
    if len(task) > NAME_CHARS_MAX or not task.isprintable():
        raise BadCall(f"hints.task_type: at most {NAME_CHARS_MAX} printable characters")
    key = AutonomyKey(tenant=tenant, agent=agent, tool=call.tool, task=task)
    row = reviewed(house, process, key, rule, versions(house, key, program, card))
    if row.level == "sample":
        drawn = was_denied or house.chance.uniform() < rule.sample
        reason = f"autonomy: drawn from a sample of {rule.sample:.0%}"
        if was_denied:
            reason = "autonomy: this very call was denied before"
        return Ruling(row, rule, drawn, reason if drawn else "")
    asked = row.level == "approve"
    return Ruling(row, rule, asked, f"autonomy: level {row.level}" if asked else "")


def versions(house: House, key: AutonomyKey, program: str, card: ToolCard) -> list[str]:
    """What the evidence about an agent and a tool is about, as of now."""
    seen = house.office.autonomy.seen.get((key.tenant, key.agent), {})
    own = [f"program:{program}"] if program else []
    return [f"tool:{digest_of(card)}", *own, *seen]


def digest_of(card: ToolCard) -> str:
    """Of what a tool says that it does; its limits and prices are not part of that."""
    said = (card.description, card.parameters, card.results, card.effect, card.command, card.server)
    return sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:16]


def prompt_of(house: House, agent: str, call: Infer) -> str:
    """A digest of what an agent's model is told before all else; empty: no rule is about it."""
    if not any(fits(rule.agents, agent) for rule in house.desk.rules.values()):
        return ""
    told = [message for message in call.messages if message.role in ("system", "developer")]
    return sha256(msgspec.json.encode((told, call.tools))).hexdigest()[:16]


def reviewed(
    house: House,
    process: ProcessId,
    key: AutonomyKey,
    rule: AutonomyConfig,
    now: list[str],
) -> AutonomyRow:
    """The row, after all that is due by its rule: its beginning, and moves down and up."""
    table = house.office.autonomy
    if key not in table.rows:
        began = rules.began(rule, key.agent, key.tool, key.task, now)
        house.emit(process, key.tenant, began)
    for _ in range(MOVES_MAX):
        move = rules.review(table.rows[key], rule, now)
        if move is None:
            break
        house.emit(process, key.tenant, move)
    return table.rows[key]


def level_of(house: House, tenant: TenantId, agent: str, tool: str) -> Level:
    """Of several types of tasks the least; where no rule is about it, nothing holds it back."""
    rule = house.desk.rules.get(rules.rule_for(house.desk.rules, tool, agent))
    if rule is None:
        return "autonomous"
    levels = [
        row.level
        for key, row in house.office.autonomy.rows.items()
        if (key.tenant, key.agent, key.tool) == (tenant, agent, tool)
    ]
    return min(levels, key=LEVELS.index, default=rule.start)


def judged(house: House, process: ProcessId, key: AutonomyKey) -> None:
    """A person has just answered: whatever moves by that, moves at once."""
    rule = house.desk.rules.get(rules.rule_for(house.desk.rules, key.tool, key.agent))
    row = house.office.autonomy.rows.get(key)
    if rule is None or row is None:
        return
    move = rules.drift(row, rule) or rules.promotion(row, rule)
    if move is not None:
        house.emit(process, key.tenant, move)


# What operators and people say of it.


def find(house: House, tenant: TenantId, agent: str, tool: str, task: str) -> AutonomyRow:
    """Raises `NotFound`."""
    key = AutonomyKey(tenant=tenant, agent=agent, tool=tool, task=task)
    row = house.office.autonomy.rows.get(key)
    if row is None:
        raise NotFound(
            f"{agent[:NAME_CHARS_MAX]!r} has not called {tool[:NAME_CHARS_MAX]!r} under any rule "
            "of [autonomy] yet; `orlop autonomy` lists those that have"
        )
    return row


async def set_level(house: House, order: LevelOrder, speaker: Speaker) -> AutonomyView:
    """A person's word: also beyond the ceiling, which is for evidence."""
    person = staff.require(house, speaker, order.person)
    key = AutonomyKey(tenant=speaker.tenant, agent=order.agent, tool=order.tool, task=order.task)
    rule = house.desk.rules.get(rules.rule_for(house.desk.rules, order.tool, order.agent))
    if rule is None:
        raise NotFound(f"no table of [autonomy] is about {order.agent!r} and {order.tool!r}")
    staff.cost_of(house, person, order.minutes)
    # From here on only the journal can fail.
    table, card = house.office.autonomy, house.card_of(order.tool)
    known = versions(house, key, "", card) if card is not None else []
    if key not in table.rows:
        began = rules.began(rule, key.agent, key.tool, key.task, known)
        house.emit(KERNEL_PROCESS, key.tenant, began)
    reason = order.reason or "set by hand"
    row = table.rows[key]
    move = rules.moved(row, order.level, "person", reason, person=person, known=known)
    return await _moved(house, speaker.tenant, move, "setting", person, order.minutes)


async def incident(house: House, order: IncidentOrder, speaker: Speaker) -> AutonomyView:
    """Something went wrong: at once back to where the rule starts, or further down."""
    person = staff.require(house, speaker, order.person)
    row = find(house, speaker.tenant, order.agent, order.tool, order.task)
    rule = house.desk.rules.get(rules.rule_for(house.desk.rules, order.tool, order.agent))
    staff.cost_of(house, person, order.minutes)
    start = rule.start if rule is not None else row.level
    level = min(row.level, start, key=LEVELS.index)
    move = rules.moved(row, level, "incident", order.reason, person=person)
    return await _moved(house, speaker.tenant, move, "incident", person, order.minutes)


async def _moved(
    house: House,
    tenant: TenantId,
    move: AutonomyMoved,
    touch: Touch,
    person: str,
    minutes: float,
) -> AutonomyView:
    house.emit(KERNEL_PROCESS, tenant, move)
    note = f"{move.agent} {move.tool} {move.task}: {move.reason}"
    await staff.touched(house, KERNEL_PROCESS, tenant, touch, person, minutes, note)
    return view(house, find(house, tenant, move.agent, move.tool, move.task))


def listed(house: House, tenant: TenantId = DEFAULT_TENANT) -> list[AutonomyView]:
    rows = house.office.autonomy.rows.values()
    return [view(house, row) for row in rows if row.key.tenant == tenant]


def view(house: House, row: AutonomyRow) -> AutonomyView:
    name = rules.rule_for(house.desk.rules, row.key.tool, row.key.agent)
    rule = house.desk.rules.get(name) or AutonomyConfig(tools=(row.key.tool,))
    due = next_look(row.judged, rule.evidence_min)
    confidence = confidence_at(look(due, rule.evidence_min) or 0, rule.confidence)
    return AutonomyView(
        row=row,
        rule=name,
        ceiling=rule.ceiling,
        bound=lower_bound(row.agreed, row.judged, confidence),
        wanted=rule.promote_at,
        look_at=due,
        why=why(row, rule if name else None, confidence),
    )


def why(row: AutonomyRow, rule: AutonomyConfig | None, confidence: float) -> str:
    if rule is None:
        return "no table of [autonomy] is about it any more: calls go by the tool's card"
    text = f"a call {MEETS[row.level]}"
    if row.level == "sample":
        text += f" ({rule.sample:.0%})"
    if LEVELS.index(row.level) >= LEVELS.index(rule.ceiling):
        return f"{text}; evidence moves it no further than {rule.ceiling}"
    due = next_look(row.judged, rule.evidence_min)
    return (
        f"{text}; people agreed with {row.agreed} of {row.judged} since it is at {row.level}, and "
        f"at {due} it moves up if that is surely more than {rule.promote_at:.0%} "
        f"(confidence {confidence:.2%})"
    )
