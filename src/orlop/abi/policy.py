"""Policies: what was decided and why, what the journal keeps of it, and what operators see."""

from typing import Literal

from msgspec import Struct

from orlop.abi.calls import Call
from orlop.abi.ids import CallId, Nanoseconds, Pid, Seq

Verdict = Literal["permit", "forbid", "ask"]
Severity = Literal["error", "warning"]
Files = dict[str, str]
"""Texts of a policy's files, by their names: `*.cedar` and `groups.toml`."""


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the rules said of one call.  Kept small: it lies in the journal with each call."""

    verdict: Verdict = "permit"
    rules: tuple[str, ...] = ()
    """Those that decided it; none, with `forbid`: no rule permits it."""
    facts: dict[str, object] = {}
    """What the rules looked at of the call's context, as it was."""
    policy: str = ""
    """The digest of the set that was asked, its first 16 digits; empty: no policy is set."""
    reason: str = ""
    """For a person: what is refused, or what is asked."""


class PolicySet(Struct, frozen=True, kw_only=True, tag_field="kind", tag="policy.set"):
    """From here on these rules decide; with `shadow`, they are only asked beside."""

    digest: str
    files: Files
    origin: str
    """The folder that it was read from, or who sent it."""
    shadow: bool = False


class PolicyRemoved(Struct, frozen=True, kw_only=True, tag_field="kind", tag="policy.removed"):
    shadow: bool = False


class PolicyRefused(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="policy.refused", omit_defaults=True
):
    """A call was refused by a rule before it began.  `body`: without its messages."""

    decision: Decision
    action: str
    resource: str
    body: Call
    labels: tuple[str, ...] = ()


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is wrong with a policy, where, and what to do."""

    severity: Severity = "error"
    file: str
    line: int
    rule: str = ""
    message: str
    fix: str = ""


class RuleView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule in `orlop policy show`."""

    id: str
    effect: Verdict
    file: str
    line: int
    text: str
    reason: str = ""
    decided: int = 0
    """Calls since the kernel's start that it decided."""


class PolicyView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`orlop policy show`.  shadow: the second set, that is asked beside."""

    digest: str
    origin: str
    files: Files
    rules: tuple[RuleView, ...]
    since_ns: Nanoseconds = Nanoseconds(0)
    problem: str = ""
    """Why the newest files are not in force, and these are instead."""
    decisions: int = 0
    """Calls that it was asked about since the kernel's start; likewise the next three."""
    refused: int = 0
    asked: int = 0
    shadow: "ShadowView | None" = None
    findings: tuple[Finding, ...] = ()
    """Warnings only: with an error it would not be in force."""


class Difference(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call that two sets of rules decide differently."""

    call: CallId
    pid: Pid
    agent: str
    action: str
    resource: str
    was: Decision
    now: Decision
    wall_ns: Nanoseconds
    seq: Seq = Seq(0)


class ShadowView(Struct, frozen=True, kw_only=True):
    """What a second set would have done: `differing` of `decisions` calls, the newest of them."""

    digest: str
    origin: str
    files: Files
    decisions: int
    differing: int
    newest: tuple[Difference, ...]
    problem: str = ""


class PolicyOrder(Struct, frozen=True, kw_only=True):
    """`orlop policy check` and `set`."""

    files: Files
    origin: str = ""
    shadow: bool = False


class PolicyReport(Struct, frozen=True, kw_only=True):
    """What is wrong with a set; `digest` is empty where it can't be used."""

    digest: str
    rules: int
    findings: tuple[Finding, ...]


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call and what must be decided of it.  What is not said is as in a quiet hour: nothing
    counted, nothing spent, no labels, a weekday's noon."""

    name: str
    agent: str = "agent"
    team: str = ""
    action: str
    resource: str = ""
    attributes: dict[str, object] = {}
    """Of the resource, as in `effect = "irreversible"`; a tool that is known has its card's."""
    context: dict[str, object] = {}
    expect: Verdict
    rule: str = ""
    """That must be among those that decided."""


class CaseOrder(Struct, frozen=True, kw_only=True):
    """`orlop policy test`; without files, the set in force is tested."""

    cases: tuple[Case, ...]
    files: Files | None = None


class CaseResult(Struct, frozen=True, kw_only=True):
    name: str
    passed: bool
    expect: Verdict
    decision: Decision
    wrong: str = ""


class RuleChange(Struct, frozen=True, kw_only=True):
    """One line of `orlop policy diff`."""

    rule: str
    change: Literal["added", "removed", "changed"]
    was: str = ""
    now: str = ""


class BacktestOrder(Struct, frozen=True, kw_only=True):
    """What these rules would have decided of the calls in the journal since `since_ns`."""

    files: Files
    since_ns: Nanoseconds


class BacktestReport(Struct, frozen=True, kw_only=True):
    """`calls` were looked at; of those, what would have come out otherwise, and by which rules."""

    calls: int
    differing: int
    by_change: dict[str, int]
    """As in {"permit → forbid": 3}."""
    by_rule: dict[str, int]
    newest: tuple[Difference, ...]
    unreadable: int = 0
    """Calls whose record is gone (pruned), so that nothing can be said of them."""


class Explanation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`orlop policy why`: which rules decided a call, and with what facts."""

    call: CallId
    pid: Pid
    agent: str
    action: str
    resource: str
    decision: Decision
    labels: tuple[str, ...] = ()
    sources: dict[str, CallId] = {}
    """By label, the call that brought it into the process first."""
    rules: tuple[RuleView, ...] = ()
    """The texts of those that decided."""
    was_refused: bool = False
    wall_ns: Nanoseconds
