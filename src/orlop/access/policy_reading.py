"""Rules as they are written: each one read by Cedar, and checked against the schema of calls.

Whatever is wrong is a finding, with its place and what to do.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cedarpy
import msgspec

from orlop.abi.limits import POLICY_OPERATORS_MAX, POLICY_RULES_MAX
from orlop.abi.policy import Files, Finding
from orlop.access import policy_words
from orlop.access.policy_rule import Rule, looks_at, mentions, scope
from orlop.access.policy_text import (
    GROUPS_FILE,
    NO_GROUPS,
    Groups,
    Statement,
    groups,
    nesting,
    statements,
    token_ends,
    too_large,
)

ANNOTATIONS: Final = frozenset({"id", "reason", "ask", "note"})

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
        fix = "Divide it, or put names together in a group."
        findings.append(_unreadable(statement, f"{said} (POLICY_OPERATORS_MAX)", fix))
        return None
    try:
        document = msgspec.json.decode(cedarpy.policies_to_json_str(statement.text))
        ((tree,),) = [list(document["staticPolicies"].values())]
    except ValueError as error:
        line = _line_of_error(statement)
        said = "is a template (`?principal`)" if not line else f"can't be read: {error}"
        fix = "Mend it; docs/policy.md has rules to copy."
        findings.append(_unreadable(statement, said, fix, line))
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


def _unreadable(statement: Statement, message: str, fix: str, line: int = 0) -> Finding:
    return Finding(file=statement.file, line=line or statement.line, message=message, fix=fix)


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
