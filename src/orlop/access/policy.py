"""Cedar: rules that were read are cut to what can match a kind of call, and asked.

What makes it quick: a rule whose scope names another action, resource or principal can't match, so
each kind of call has its own small part of the set; of a call's context only the facts that this
part looks at are computed; and an answer is remembered for as long as those facts are the same.
(Measured: 100 rules asked whole, 145 µs; a part of a few rules with its context, 50 µs; a
remembered answer, 2 µs.)

Cedar skips a rule that can't be evaluated.  For a `forbid` that would be a hole, so here the call
is refused and the rule is named.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import cedarpy
from cedarpy import Decision as CedarDecision
from msgspec.structs import replace

from orlop.abi.limits import (
    POLICY_ANSWERS_MAX,
    POLICY_PLACES_MAX,
    POLICY_REMEMBERED_CHARS_MAX,
    POLICY_SLICES_MAX,
)
from orlop.abi.policy import Decision, Files, Verdict
from orlop.access import policy_words
from orlop.access.policy_levels import Levels, level, levels_of
from orlop.access.policy_reading import Read
from orlop.access.policy_rule import Rule, Scope
from orlop.access.policy_text import digest_of
from orlop.access.policy_words import Entity

FAILED: Final = re.compile(r"policy `([^`]+)`: (.*)", re.DOTALL)
"""How Cedar says that a rule could not be evaluated."""

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
