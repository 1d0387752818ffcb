"""What is wrong with a policy: where, and what to do."""

from collections.abc import Mapping

import pytest

from orlop.abi.policy import Case, Files
from orlop.access import policy_cases
from orlop.access.policy import Policy
from orlop.access.policy_reading import Read, read
from orlop.access.policy_templates import TEMPLATES

ALL = '@id("all") permit(principal, action, resource);\n'
PAY: Mapping[str, object] = {
    "type": "object",
    "required": ["amount"],
    "properties": {
        "amount": {"type": "integer"},
        "note": {"type": "string"},
        "rate": {"type": "number"},
        "to": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}


def shape(tool: str) -> Mapping[str, object] | None:
    return PAY if tool == "pay" else None


def look(text: str, **more: str) -> Read:
    files: Files = {"rules.cedar": text} | {
        name.replace("_", "."): content for name, content in more.items()
    }
    return read(files, shape)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("permit(principal, action, resource)\nwhen { context.taint > };\n", 2, "unexpected token"),
        (ALL + "\n\nallow(principal, action, resource);", 4, "invalid policy effect"),
        ("permit(principal, action, resource)\n\n// the end\n", 1, "unexpected end"),
        (ALL + "permit(principal,\n\n  action resource);", 4, "unexpected token"),
        ('@id("x"\npermit(principal, action, resource);', 2, "unexpected token"),
        ("permit(principal == ?principal, action, resource);", 1, "template"),
    ],
)
def test_what_cant_be_read_is_named_by_file_and_line(text: str, line: int, said: str) -> None:
    found = look(text)
    assert not found.is_usable
    finding = found.findings[0]
    assert (finding.file, finding.line) == ("rules.cedar", line)
    assert said in finding.message and finding.fix


@pytest.mark.parametrize(
    ("rule", "said", "fix"),
    [
        (
            'forbid(principal, action == Action::"zap", resource);',
            "unrecognized action",
            "call_tool",
        ),
        ("forbid(principal, action, resource is Toll);", "Toll", "Types are"),
        (
            'forbid(principal, action == Action::"spawn", resource) when { context.hour > 3 };',
            "not found",
            "facts",
        ),
        (
            'forbid(principal, action, resource) when { context.time.hour == "noon" };',
            "compatible",
            "types",
        ),
        ('@who("x") forbid(principal, action, resource);', "unknown @who", "@reason"),
        ('@ask("x") permit(principal, action, resource);', "@ask on a `permit`", "forbid"),
        ('@id("all") forbid(principal, action, resource);', "another rule has the id", "@id"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_what_to_do(
    rule: str, said: str, fix: str
) -> None:
    found = look(ALL + rule)
    assert not found.is_usable
    finding = found.findings[0]
    assert finding.line == 2 and said in finding.message and fix in finding.fix


def test_arguments_are_checked_by_the_tools_schema() -> None:
    head = 'forbid(principal, action == Action::"call_tool", resource == Tool::"pay") when { '
    good = look(ALL + head + "context.arguments.amount > 5 };")
    assert good.is_usable and good.findings == ()
    nested = look(
        ALL + head + "context.arguments has to && context.arguments.to has name &&"
        ' context.arguments.to.name == "Eve" };'
    )
    assert nested.is_usable and nested.findings == ()
    for wrong in ("amount.much > 5", 'amount == "five"', "rate > 1", 'note == "x"', "price > 5"):
        found = look(ALL + head + f"context.arguments.{wrong} }};")
        assert not found.is_usable, wrong
    unknown = look(ALL + head.replace("pay", "absent") + "context.arguments.amount > 5 };")
    assert unknown.is_usable and "no such tool" in unknown.findings[0].message


def test_groups_are_read_with_their_lines() -> None:
    rule = ALL + 'forbid(principal in Group::"nobody", action, resource);'
    found = look(rule, groups_toml='[groups]\nhere = ["agent:ada", "cat:tom"]\n')
    (wrong, empty) = sorted(found.findings, key=lambda finding: finding.severity)
    assert (wrong.file, wrong.line) == ("groups.toml", 2) and "cat:tom" in wrong.message
    assert empty.severity == "warning" and "nobody" in empty.message
    broken = look(ALL, groups_toml="[groups]\nhere = [\n")
    assert not broken.is_usable and broken.findings[0].file == "groups.toml"


def test_nothing_is_not_everything() -> None:
    assert not read({}, shape).is_usable
    assert not look("// only words\n").is_usable


def test_other_files_and_large_ones_are_refused_unread() -> None:
    assert "neither" in read({"../x.cedar": ALL}, shape).findings[0].message
    assert "larger" in look(" " * (2 << 20)).findings[0].message


def test_every_template_can_be_used_as_it_is() -> None:
    for name, files in TEMPLATES.items():
        found = read(files, shape)
        assert found.is_usable and found.findings == (), (name, found.findings)


def decided(files: Files, case: Case) -> str:
    policy = Policy(files, "test", read(files, shape))
    return policy_cases.run(policy, case, lambda action, name: {}).decision.verdict


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (Case(name="", action="infer", resource="any", expect="permit"), "permit"),
        (Case(name="", action="call_tool", resource="pay", expect="ask"), "ask"),
        (
            Case(
                name="",
                action="call_tool",
                resource="find",
                attributes={"effect": "pure"},
                expect="permit",
            ),
            "permit",
        ),
        (
            Case(
                name="",
                agent="clerk-1",
                action="read",
                resource="/home/clerk-2/a",
                attributes={"owner": "clerk-2", "groups": ["office"]},
                expect="permit",
            ),
            "forbid",
        ),
        (
            Case(
                name="",
                agent="clerk-1",
                action="read",
                resource="/office/plan",
                expect="permit",
            ),
            "permit",
        ),
        (
            Case(name="", agent="eve", action="read", resource="/office/plan", expect="forbid"),
            "forbid",
        ),
        (
            Case(
                name="",
                agent="eve",
                action="recall",
                resource="agents/eve",
                attributes={"owner": "eve"},
                expect="permit",
            ),
            "permit",
        ),
        (Case(name="", agent="eve", action="net", resource="x.com", expect="forbid"), "forbid"),
    ],
)
def test_privilege_groups_let_members_touch_what_is_their_groups(case: Case, verdict: str) -> None:
    """A `groups` attribute comes from groups.toml alone: a case can't claim it."""
    assert decided(TEMPLATES["privilege-groups"], case) == verdict


@pytest.mark.parametrize(
    ("context", "verdict"),
    [
        ({}, "permit"),
        ({"calls": {"agent": {"hour": 20}}}, "forbid"),
        ({"calls": {"agent": {"hour": 19}}}, "permit"),
        ({"time": {"weekday": 6}}, "ask"),
        ({"time": {"hour": 3}, "calls": {"agent": {"hour": 30}}}, "forbid"),
    ],
)
def test_limits_are_cases_of_the_clock_and_of_counts(
    context: dict[str, object], verdict: str
) -> None:
    case = Case(name="", action="call_tool", resource="pay", context=context, expect="permit")
    assert decided(TEMPLATES["limits"], case) == verdict


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case(name="", action="fly", expect="permit"), "one of infer"),
        (
            Case(name="", action="infer", context={"time": {"day": 3}}, expect="permit"),
            "no such fact",
        ),
        (
            Case(name="", action="infer", context={"time": {"hour": "noon"}}, expect="permit"),
            "can't be",
        ),
        (Case(name="", action="infer", attributes={"colour": 1}, expect="permit"), "Model has"),
        (Case(name="", action="infer", expect="forbid"), "permit, not forbid"),
        (Case(name="", action="infer", expect="permit", rule="other"), "not by other"),
    ],
)
def test_a_case_that_fails_says_why(case: Case, said: str) -> None:
    files: Files = {"rules.cedar": ALL}
    result = policy_cases.run(
        Policy(files, "test", read(files, shape)), case, lambda action, name: {}
    )
    assert not result.passed and said in result.wrong


@pytest.mark.parametrize("depth", [60, 2_000, 100_000])
@pytest.mark.parametrize(
    "condition",
    ["{open}true{close}", "{bangs}true", "{ands}true", "context{dots}"],
    ids=["brackets", "nots", "ands", "dots"],
)
def test_rules_that_would_run_a_parser_out_of_stack_are_refused(condition: str, depth: int) -> None:
    """Sixty deep is fine; what is deeper than the limit never reaches the library."""
    text = condition.format(
        open="(" * depth,
        close=")" * depth,
        bangs="!" * depth,
        ands="true && " * depth,
        dots=".a" * depth,
    )
    found = look(f'{ALL}@id("deep") forbid(principal, action, resource) when {{ {text} }};')
    if depth > 60:
        assert not found.is_usable and "POLICY_OPERATORS_MAX" in found.findings[0].message
    elif found.is_usable:
        case = Case(name="", action="infer", expect="forbid", rule="deep")
        policy = Policy({}, "test", found)
        assert policy_cases.run(policy, case, lambda action, name: {}).passed
