"""A policy held against cases: calls that somebody has written down with what must come of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orlop.abi.policy import Case, CaseResult, Decision, Difference
from orlop.access import policy_words
from orlop.access.policy import Policy
from orlop.access.policy_words import ACTIONS, cedar_value, leaves_of

Attributes = Callable[[str, str], Mapping[str, object]]
"""What is known of a thing, by action and name."""


@dataclass(frozen=True, slots=True)
class Wrong(Exception):
    """A case that can't be asked: why."""

    said: str


def run(policy: Policy, case: Case, known: Attributes) -> CaseResult:
    """known: attributes of things that exist; the case's own come before them."""
    try:
        decision = _decide(policy, case, known)
    except Wrong as wrong:
        return CaseResult(
            name=case.name,
            passed=False,
            expect=case.expect,
            decision=Decision(verdict="forbid"),
            wrong=wrong.said,
        )
    said = ""
    if decision.verdict != case.expect:
        said = f"{decision.verdict}, not {case.expect}"
    elif case.rule and case.rule not in decision.rules:
        said = f"decided by {', '.join(decision.rules) or 'no rule'}, not by {case.rule}"
    return CaseResult(
        name=case.name, passed=not said, expect=case.expect, decision=decision, wrong=said
    )


def _decide(policy: Policy, case: Case, known: Attributes) -> Decision:
    if case.action not in ACTIONS:
        raise Wrong(f"action {case.action!r}: one of {', '.join(ACTIONS)}")
    blank = policy_words.BLANK[ACTIONS[case.action]]
    if unknown := sorted(set(case.attributes) - set(blank)):
        raise Wrong(
            f"attribute {unknown[0]!r}: a {ACTIONS[case.action]} has {', '.join(blank) or 'none'}"
        )
    what = policy_words.thing(
        case.action, case.resource, {**known(case.action, case.resource), **case.attributes}
    )
    who = policy_words.process(
        "case", case.agent, pid=1, program="", version="", team=case.team, tenant="default"
    )
    values = _facts(case)
    place = policy.place(case.action, who, what)
    return policy.decide(place, lambda paths: {path: values[path] for path in sorted(paths)})


def _facts(case: Case) -> dict[str, object]:
    """Every fact of the action, as the case says or as in a quiet hour."""
    values = {leaf.path: leaf.default for leaf in leaves_of(case.action)}
    for path, value in _flat("", case.context, values):
        if path not in values:
            raise Wrong(f"context.{path}: no such fact of {case.action}")
        usual, said = values[path], cedar_value(value)
        if said is None or (usual != {} and type(said) is not type(usual)):
            raise Wrong(f"context.{path}: can't be {value!r}")
        values[path] = said
    return values


def _flat(
    above: str, given: Mapping[str, object], leaves: Mapping[str, object]
) -> list[tuple[str, object]]:
    """`{"time": {"hour": 3}}` as `time.hour`; a fact that is itself an object stays whole."""
    found: list[tuple[str, object]] = []
    for name, value in given.items():
        path = f"{above}.{name}" if above else name
        if isinstance(value, dict) and path not in leaves:
            found += _flat(path, value, leaves)
        else:
            found.append((path, value))
    return found


def change(difference: Difference) -> str:
    """In a back-test's sums."""
    return f"{difference.was.verdict} → {difference.now.verdict}"
