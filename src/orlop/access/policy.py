"""Cedar: rules are read once, cut to what can match a kind of call, and asked.

The only file that knows `cedarpy`.  What makes it quick: a rule whose scope names another action,
resource or principal can't match, so each kind of call has its own small part of the set; of a
call's context only the facts that this part looks at are computed; and an answer is remembered
for as long as those facts are the same.  (Measured: 100 rules asked whole, 145 µs; a part of a few
rules with its context, 50 µs; a remembered answer, 2 µs.)

Cedar skips a rule that can't be evaluated.  For a `forbid` that would be a hole, so here the call
is refused and the rule is named.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import cedarpy
import msgspec
from cedarpy import Decision as CedarDecision
from msgspec.structs import replace

from orlop.abi.limits import (
    POLICY_ANSWERS_MAX,
    POLICY_OPERATORS_MAX,
    POLICY_PLACES_MAX,
    POLICY_REMEMBERED_CHARS_MAX,
    POLICY_RULES_MAX,
    POLICY_SLICES_MAX,
)
from orlop.abi.policy import Decision, Files, Finding, Verdict
from orlop.access import policy_words
from orlop.access.policy_levels import Levels, level, levels_of
from orlop.access.policy_rule import Rule, Scope, looks_at, mentions, scope
from orlop.access.policy_text import (
    GROUPS_FILE,
    NO_GROUPS,
    Groups,
    Statement,
    digest_of,
    groups,
    nesting,
    statements,
    token_ends,
    too_large,
)
from orlop.access.policy_words import Entity

ANNOTATIONS: Final = frozenset({"id", "reason", "ask", "note"})
FAILED: Final = re.compile(r"policy `([^`]+)`: (.*)", re.DOTALL)
"""How Cedar says that a rule could not be evaluated."""

Shapes = Callable[[str], "Mapping[str, object] | None"]
"""The JSON schema of a tool's arguments; None: no such tool is here."""


@dataclass(frozen=True, slots=True)
class Read:
    """What became of a policy's files.  With an error among the findings nothing is used."""

    rules: tuple[Rule, ...]
    groups: Groups
    findings: tuple[Finding, ...]

    @property
    def is_usable(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


def read(files: Files, shapes: Shapes) -> Read:
    """Every rule, and all that is wrong with them, with its place and what to do."""
    if findings := too_large(files):
        return Read((), NO_GROUPS, tuple(findings))
    known, findings = groups(files.get(GROUPS_FILE, ""))
    rules: dict[str, Rule] = {}
    for file in sorted(set(files) - {GROUPS_FILE}):
        for statement in statements(file, files[file]):
            rule = _rule(statement, findings)
            if rule is None:
                continue
            if (other := rules.get(rule.id)) is not None:
                where = f"{other.statement.file}:{other.statement.line}"
                said = f"another rule has the id {rule.id!r} too ({where})"
                findings.append(_finding(rule, said, "Give each rule an @id of its own."))
            rules[rule.id] = rule
    if len(rules) > POLICY_RULES_MAX:
        said = f"there are more than {POLICY_RULES_MAX} rules (POLICY_RULES_MAX)"
        findings.append(Finding(file="", line=0, message=said, fix="Say more with fewer."))
        return Read((), known, tuple(findings))
    for rule in rules.values():
        findings += _checked(rule, known, shapes)
    if not rules:
        fix = "Write a rule: without one every call is refused."
        findings.append(Finding(file="", line=0, message="there is no rule", fix=fix))
    return Read(tuple(rules.values()), known, tuple(findings))


def _rule(statement: Statement, findings: list[Finding]) -> Rule | None:
    """None, and a finding, for what can't be read."""
    if (depth := nesting(statement.text)) > POLICY_OPERATORS_MAX:
        said = f"has {depth} operators and brackets; at most {POLICY_OPERATORS_MAX}"
        findings.append(
            Finding(
                file=statement.file,
                line=statement.line,
                message=f"{said} (POLICY_OPERATORS_MAX)",
                fix="Divide it, or put names together in a group.",
            )
        )
        return None
    try:
        document = msgspec.json.decode(cedarpy.policies_to_json_str(statement.text))
        ((tree,),) = [list(document["staticPolicies"].values())]
    except ValueError as error:
        line = _line_of_error(statement)
        said = "is a template (`?principal`)" if not line else f"can't be read: {error}"
        findings.append(
            Finding(
                file=statement.file,
                line=line or statement.line,
                message=said,
                fix="Mend it; docs/policy.md has rules to copy.",
            )
        )
        return None
    annotations = {name: value or "" for name, value in tree.get("annotations", {}).items()}
    rule = Rule(
        id=annotations.get("id", "") or f"{statement.file}:{statement.line}",
        statement=statement,
        effect=tree["effect"],
        annotations=annotations,
        tree=tree,
        principal=scope(tree["principal"]),
        action=scope(tree["action"]),
        resource=scope(tree["resource"]),
        looks_at=frozenset(looks_at(tree["conditions"])),
        mentions=frozenset(mentions(tree)),
    )
    if unknown := sorted(set(annotations) - ANNOTATIONS):
        fix = f"Known are {', '.join(f'@{name}' for name in sorted(ANNOTATIONS))}."
        findings.append(_finding(rule, f"has an unknown @{unknown[0]}", fix))
    if rule.asks and rule.effect != "forbid":
        fix = "Write `forbid`: what a person agrees to goes on as if the rule were not there."
        findings.append(_finding(rule, "has @ask on a `permit`", fix))
    return rule


def _line_of_error(statement: Statement) -> int:
    """The line of the first token that can't stand where it does: what comes before it could
    still have become a rule.  0: the text can be read."""
    ends = token_ends(statement.text)
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if _could_go_on(statement.text[: ends[middle]]):
            low = middle + 1
        else:
            high = middle
    if low == len(ends):
        whole = _could_go_on(statement.text) and statement.text.endswith(";")
        return 0 if whole else statement.line + statement.text.count("\n")
    return statement.line + statement.text.count("\n", 0, ends[low] - 1)


def _could_go_on(text: str) -> bool:
    try:
        cedarpy.policies_to_json_str(text)
    except ValueError as error:
        return "unexpected end of input" in str(error)
    return True


# Checking rules against the schema.


@lru_cache(maxsize=256)
def _schema(arguments: str) -> cedarpy.Schema:
    return cedarpy.Schema.from_str(policy_words.schema(arguments))


def _checked(rule: Rule, known: Groups, shapes: Shapes) -> Iterator[Finding]:
    """What is wrong with a rule that could be read."""
    for kind, id in sorted(rule.mentions):
        if kind == "Group" and id not in known.names:
            fix = f'Name its members in groups.toml: `{id} = ["agent:NAME"]`.'
            yield _finding(rule, f"speaks of group {id!r}, which is empty", fix, warns=True)
    arguments = "{}"
    if any(path == "arguments" or path.startswith("arguments.") for path in rule.looks_at):
        tools = {id for kind, id in rule.resource.uids if kind == "Tool"}
        shape = shapes(next(iter(tools))) if len(tools) == 1 and rule.resource.op == "==" else None
        if shape is None:
            said = "its arguments can't be checked: " + (
                "no such tool is here" if tools else "it is for any tool"
            )
            fix = "Where a call has other arguments, a `forbid` that needs them refuses it."
            yield _finding(rule, said, fix, warns=True)
            return
        arguments = policy_words.arguments_type(shape)
    result = cedarpy.validate_policies(rule.statement.text, _schema(arguments))
    for wrong in result.errors:
        said = re.sub(r"^for policy `[^`]*`, ", "", wrong.error)
        yield _finding(rule, said, _fix(said))


def _fix(said: str) -> str:
    if "action" in said:
        return f"Actions are {', '.join(policy_words.ACTIONS)}."
    if "optional attribute" in said:
        return "Ask first whether it is there, as in `context.arguments has to && …`."
    if "not found" in said:
        return (
            "`docs/policy.md` lists the facts of each action; name the action in the rule's head."
        )
    if "entity type" in said:
        return f"Types are {', '.join(policy_words.ENTITIES)}."
    return "Mend it; docs/policy.md has the types of all facts."


def _finding(rule: Rule, message: str, fix: str, *, warns: bool = False) -> Finding:
    return Finding(
        severity="warning" if warns else "error",
        file=rule.statement.file,
        line=rule.statement.line,
        rule=rule.id,
        message=message,
        fix=fix,
    )


# Asking.

Context = Callable[[frozenset[str]], Mapping[str, object]]
"""Computes the wanted facts, by their paths."""


@dataclass(eq=False, slots=True)
class Slice:
    """The rules that can match one kind of call, ready to be asked."""

    rules: Mapping[str, Rule]
    names: Mapping[str, str]
    """Ids of the rules, by what Cedar calls them."""
    wants: frozenset[str]
    levels: Levels
    cedar: cedarpy.PolicySet


@dataclass(eq=False, slots=True)
class Place:
    """One process and one thing that it acts on: its slice, and the answers that it has had."""

    who: Entity
    what: Entity
    part: Slice
    request: dict[str, object]
    entities: cedarpy.Entities
    answers: OrderedDict[str, Decision] = field(default_factory=OrderedDict)


def permits_all(rule: Rule) -> bool:
    heads = (rule.principal, rule.action, rule.resource)
    is_bare = not rule.tree["conditions"] and all(head == Scope() for head in heads)
    return rule.effect == "permit" and is_bare


class Policy:
    """A set of rules in force.  Immutable: a reload makes a new one."""

    def __init__(self, files: Files, origin: str, found: Read) -> None:
        self.files = files
        self.origin = origin
        self.digest = digest_of(files)
        self.rules = {rule.id: rule for rule in found.rules}
        self.groups = found.groups
        self.findings = found.findings
        self.is_open = len(found.rules) == 1 and permits_all(found.rules[0])
        """It is one rule that permits everything, so nobody needs to ask it."""
        self._order = found.rules
        self._slices: OrderedDict[tuple[int, ...], Slice] = OrderedDict()
        self._places: OrderedDict[tuple[str, str, str], Place] = OrderedDict()

    def place(self, action: str, who: Entity, what: Entity) -> Place:
        """Where a kind of call is decided; remembered for as long as both look the same."""
        key = (who.id, action, what.id)
        place = self._places.get(key)
        if place is None or place.who != who or place.what != what:
            place = self._new_place(action, who, what)
            if len(what.id) > POLICY_REMEMBERED_CHARS_MAX:
                return place
            self._places[key] = place
            if len(self._places) > POLICY_PLACES_MAX:
                self._places.popitem(last=False)
        return place

    def decide(self, place: Place, context: Context) -> Decision:
        part = place.part
        flat = context(part.wants) if part.wants else {}
        levels, values = part.levels, policy_words.nested(flat)
        seen = {path: level(levels, path, value) for path, value in flat.items()}
        key = json.dumps(seen) if seen else ""
        if (known := place.answers.get(key)) is not None:
            return replace(known, facts=values) if levels else known
        decision = self._asked(place, values, json.dumps(values) if values else "")
        if len(key) > POLICY_REMEMBERED_CHARS_MAX:
            return decision
        place.answers[key] = decision
        if len(place.answers) > POLICY_ANSWERS_MAX:
            place.answers.popitem(last=False)
        return decision

    def _asked(self, place: Place, values: dict[str, object], text: str) -> Decision:
        request = {**place.request, "context": text or "{}"}
        result = cedarpy.is_authorized(request, place.part.cedar, place.entities)
        rules, names, found = place.part.rules, place.part.names, result.diagnostics
        reasons = [names[where] for where in found.reasons]
        # What could not be evaluated, and would have held the call back, holds it back.
        failed = [(names.get(where, where), why) for where, why in map(_failed, found.errors)]
        broken = {id: why for id, why in failed if _holds_back(rules.get(id))}
        held = [*(id for id in reasons if rules[id].effect == "forbid"), *broken]
        firm = [id for id in held if id not in rules or not rules[id].asks]
        if firm:
            return self._said("forbid", rules, values, firm, broken)
        is_permitted = result.decision is CedarDecision.Allow
        if not is_permitted and held:
            is_permitted = self._permits(place, request)
        if not is_permitted:
            return self._said("forbid", rules, values, [], {})
        return self._said("ask" if held else "permit", rules, values, held or reasons, broken)

    def _permits(self, place: Place, request: Mapping[str, object]) -> bool:
        """Whether a person's word is enough: some rule permits the call otherwise."""
        permits = [rule for rule in place.part.rules.values() if rule.effect == "permit"]
        result = cedarpy.is_authorized(dict(request), _compiled(permits), place.entities)
        return result.decision is CedarDecision.Allow

    def _said(
        self,
        verdict: Verdict,
        rules: Mapping[str, Rule],
        values: dict[str, object],
        ids: Sequence[str],
        broken: Mapping[str, str],
    ) -> Decision:
        names = tuple(sorted(set(ids)))
        told = [rules[id].told for id in names if id in rules and verdict != "permit"]
        told += [f"{id} can't be decided: {broken[id]}" for id in names if id in broken]
        if verdict == "forbid" and not names:
            told = ["no rule permits it"]
        reason = "; ".join(dict.fromkeys(line for line in told if line))
        return Decision(
            verdict=verdict, rules=names, facts=values, policy=self.digest[:16], reason=reason
        )

    def _new_place(self, action: str, who: Entity, what: Entity) -> Place:
        whose, of = self._groups(who), self._groups(what)
        uids = [(who.type, who.id), (what.type, what.id)]
        above = [
            frozenset([uids[0], *who.parents, *(("Group", name) for name in whose)]),
            frozenset([uids[1], *what.parents, *(("Group", name) for name in of)]),
        ]
        act = ("Action", action)
        part = self._slice(
            tuple(
                number
                for number, rule in enumerate(self._order)
                if rule.action.can_match(act, frozenset([act]))
                and rule.principal.can_match(uids[0], above[0])
                and rule.resource.can_match(uids[1], above[1])
            )
        )
        things = [_entity(who, above[0], whose)]
        if uids[0] != uids[1]:
            things.append(_entity(what, above[1], of))
        return Place(
            who,
            what,
            part,
            {"principal": _uid(uids[0]), "action": _uid(act), "resource": _uid(uids[1])},
            cedarpy.Entities.from_json_str(json.dumps(things)),
        )

    def _groups(self, thing: Entity) -> tuple[str, ...]:
        """Of the thing itself, and of what it is in (a process: of its agent and team)."""
        found = list(self.groups.of(thing.type, thing.id))
        for kind, name in thing.parents:
            found += self.groups.of(kind, name)
        return tuple(dict.fromkeys(found))

    def _slice(self, numbers: tuple[int, ...]) -> Slice:
        part = self._slices.get(numbers)
        if part is None:
            rules = {self._order[number].id: self._order[number] for number in numbers}
            paths = [path for rule in rules.values() for path in rule.looks_at]
            names = {f"policy{number}": id for number, id in enumerate(rules)}
            wants, levels = policy_words.wanted(paths), levels_of(rules.values())
            part = Slice(rules, names, wants, levels, _compiled(rules.values()))
            self._slices[numbers] = part
            if len(self._slices) > POLICY_SLICES_MAX:
                self._slices.popitem(last=False)
        return part


def _compiled(rules: Iterable[Rule]) -> cedarpy.PolicySet:
    """As text: rules read from JSON may be nested less deeply.  Cedar calls them by their places,
    as in `policy0`."""
    return cedarpy.PolicySet.from_str("\n".join(rule.statement.text for rule in rules))


def _failed(error: str) -> tuple[str, str]:
    """Which rule could not be evaluated, and why."""
    found = FAILED.search(error)
    return (found.group(1), found.group(2)) if found else ("", error)


def _holds_back(rule: Rule | None) -> bool:
    """A rule that nobody knows is taken to: it is better to refuse."""
    return rule is None or rule.effect == "forbid"


def _uid(uid: tuple[str, str]) -> dict[str, str]:
    return {"type": uid[0], "id": uid[1]}


def _entity(
    thing: Entity, above: frozenset[tuple[str, str]], names: Sequence[str]
) -> dict[str, object]:
    own = (thing.type, thing.id)
    attributes = dict(thing.attributes)
    if "groups" in attributes:
        attributes["groups"] = sorted(names)
    return {
        "uid": _uid(own),
        "attrs": attributes,
        "parents": [_uid(uid) for uid in sorted(above - {own})],
    }
