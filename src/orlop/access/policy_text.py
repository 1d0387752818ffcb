"""A policy's files as texts: cut into rules with their places, and the groups that they name."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final

from orlop.abi.limits import POLICY_BYTES_MAX, POLICY_FILES_MAX
from orlop.abi.policy import Files, Finding
from orlop.wire.canonical import canonical

GROUPS_FILE: Final = "groups.toml"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

KINDS: Final[Mapping[str, str]] = {
    "agent": "Agent",
    "team": "Team",
    "tool": "Tool",
    "model": "Model",
    "memory": "Memory",
    "file": "File",
    "host": "Host",
    "person": "Person",
    "group": "Group",
}
"""What may be in a group, as `groups.toml` calls it."""

# A string, a comment, a word, or one character: enough to find where a rule ends.
TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*)|"(?:\\.|[^"\\])*"|\w+|::|==|!=|<=|>=|&&|\|\||.""", re.DOTALL
)


NESTS: Final = frozenset(["(", "[", "{", "!", "-", "+", "*", ".", "&&", "||", "if"])
"""Tokens that open something deeper."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One rule's text as it stands in its file; `line` is its first."""

    file: str
    line: int
    text: str


def digest_of(files: Files) -> str:
    return sha256(canonical(files)).hexdigest()


def too_large(files: Files) -> list[Finding]:
    """What is wrong with the files before anybody reads them."""
    found = []
    for name, text in files.items():
        if not NAME.fullmatch(name) or not (name.endswith(".cedar") or name == GROUPS_FILE):
            found.append(
                Finding(
                    file=name[:100],
                    line=0,
                    message="is neither a `.cedar` file nor `groups.toml`",
                    fix="Take it out of the policy's folder.",
                )
            )
        if len(text.encode(errors="replace")) > POLICY_BYTES_MAX:
            said = f"is larger than {POLICY_BYTES_MAX >> 10} KiB (POLICY_BYTES_MAX)"
            found.append(Finding(file=name[:100], line=0, message=said, fix="Divide it."))
    if len(files) > POLICY_FILES_MAX:
        said = f"there are more than {POLICY_FILES_MAX} files (POLICY_FILES_MAX)"
        found.append(Finding(file="", line=0, message=said, fix="Put rules together."))
    return found


def statements(file: str, text: str) -> Iterator[Statement]:
    """The rules of one file.  A rule ends at its semicolon, or at the end of the file."""
    start, end, is_empty = 0, 0, True
    for token in TOKEN.finditer(text):
        if token.lastgroup == "space":
            continue
        if is_empty:
            start, is_empty = token.start(), False
        end = token.end()
        if token.group() == ";":
            yield Statement(file, text.count("\n", 0, start) + 1, text[start:end])
            is_empty = True
    if not is_empty:
        yield Statement(file, text.count("\n", 0, start) + 1, text[start:end])


def nesting(text: str) -> int:
    """How deep a rule can be at most: whatever nests, opens with one of these."""
    return sum(token.group() in NESTS for token in TOKEN.finditer(text))


def token_ends(text: str) -> list[int]:
    return [token.end() for token in TOKEN.finditer(text) if token.lastgroup != "space"]


@dataclass(frozen=True, slots=True)
class Groups:
    """Which things are in which groups: patterns by type, each with its group."""

    members: Mapping[str, Sequence[tuple[str, str]]]
    names: frozenset[str]

    def of(self, kind: str, name: str) -> tuple[str, ...]:
        """All groups of one thing, those of its groups included."""
        found = dict.fromkeys(
            group for pattern, group in self.members.get(kind, ()) if fnmatchcase(name, pattern)
        )
        above = list(found)
        while above:
            for outer in self.of_group(above.pop()):
                if outer not in found:
                    found[outer] = None
                    above.append(outer)
        return tuple(found)

    def of_group(self, name: str) -> list[str]:
        inner = self.members.get("Group", ())
        return [group for pattern, group in inner if fnmatchcase(name, pattern)]


NO_GROUPS: Final = Groups({}, frozenset())


def groups(text: str) -> tuple[Groups, list[Finding]]:
    """`groups.toml`: a table `[groups]` of `name = ["agent:NAME", "tool:PATTERN", …]`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        line = int(place.group(1)) if place else 1
        return NO_GROUPS, [_wrong(line, f"is not TOML: {error}", "Mend that line.")]
    table = document.get("groups", {})
    unknown = sorted(set(document) - {"groups"})
    if unknown or not isinstance(table, dict):
        said = f"has {', '.join(unknown)} beside `[groups]`" if unknown else "has no table `groups`"
        return NO_GROUPS, [_wrong(1, said, 'Write `[groups]`, then `name = ["agent:NAME"]`.')]
    members: dict[str, list[tuple[str, str]]] = {}
    findings = []
    for group, listed in table.items():
        for member in listed if isinstance(listed, list) else [listed]:
            kind, found, pattern = str(member).partition(":")
            if not isinstance(member, str) or not found or kind not in KINDS or not pattern:
                said = f"{member!r} in group {group} is nothing that a group can hold"
                fix = f"Write one of {', '.join(KINDS)}, a colon, and a name or pattern."
                findings.append(_wrong(_line(text, group), said, fix))
            else:
                members.setdefault(KINDS[kind], []).append((pattern, group))
    return Groups(members, frozenset(table)), findings


def _line(text: str, group: str) -> int:
    found = re.search(rf'^\s*"?{re.escape(group)}"?\s*=', text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _wrong(line: int, message: str, fix: str) -> Finding:
    return Finding(file=GROUPS_FILE, line=line, message=message, fix=fix)
