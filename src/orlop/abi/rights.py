"""Rights as plain data: a list of texts, each `family[:name][:access]`, as in `tool:shop.*`.

In a name `*` stands for any characters.  A file's right reaches everything below it; a host's
reaches every port, unless it names one.  `*` alone is everything.  A list of rights allows what one
of them allows; nothing forbids (that is policy's).

Invariant (I9): `narrowed` gives nothing that is not covered by what is held.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from orlop.abi.errors import BadCall, Denied
from orlop.abi.limits import RIGHT_CHARS_MAX, RIGHTS_COMPILED_MAX, RIGHTS_MAX, RIGHTS_READ_MAX

Family = Literal[
    "model",
    "tool",
    "spawn",
    "signal",
    "ask",
    "memory",
    "file",
    "net",
    "device",
    "metrics",
    "grant",
]
"""What rights are about: models and tools by name, commands that may be spawned, namespaces of
memory, paths, hosts, devices to claim; `signal`, `ask`, `metrics` and `grant` have no names."""

Access = Literal["", "read", "write"]

Rights: TypeAlias = tuple[str, ...]
"""As a process's row, a key, or a token holds them."""

EVERYTHING: Final[Rights] = ("*",)
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
NAMELESS: Final = frozenset({"signal", "ask", "metrics", "grant"})
WITH_ACCESS: Final = frozenset({"memory", "file"})
_ACCESSES: Final = {"read": ("read",), "write": ("write",), "read|write": ("read", "write")}
_ALL: Final = ("read", "write")
_ANY: Final = "\0"
"""Stands for what a `*` stands for, where one pattern is held against another: only a `*` of the
other fits it."""


class Scope(Struct, frozen=True):
    """One right.  `family` is `*` in the right to everything; then nothing else counts."""

    family: str
    name: str = "*"
    access: tuple[str, ...] = _ALL
    head: str = ""
    """How every name begins that fits: what is before the first `*`."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """What the name must fit, one of them."""
        if self.family == "file" and not self.name.endswith("*"):
            return self.name, self.name.rstrip("/") + "/*"
        if self.family == "net" and not _has_port(self.name):
            return self.name, self.name + ":*"
        return (self.name,)

    def covers(self, other: "Scope") -> bool:
        """Whether this allows all that `other` allows."""
        if self.family == "*":
            return True
        if other.family != self.family or not other.name.startswith(self.head):
            return False
        if not set(other.access) <= set(self.access):
            return False
        mine = self.patterns
        wanted = [pattern.replace("*", _ANY) for pattern in other.patterns]
        return all(any(fits(pattern, name) for pattern in mine) for name in wanted)

    def __str__(self) -> str:
        access = "" if self.access == _ALL else ":" + "|".join(self.access)
        name = "" if self.name == "*" and not access else f":{self.name}"
        return f"{self.family}{name}{access}"


def fits(pattern: str, name: str) -> bool:
    """Whether `name` fits `pattern`, in time that no pattern can blow up."""
    if "*" not in pattern:
        return pattern == name
    first, *middle, last = pattern.split("*")
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    if not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@lru_cache(maxsize=RIGHTS_READ_MAX)
def read(text: str) -> Scope:
    """Raises `BadCall` naming what is wrong."""
    if len(text) > RIGHT_CHARS_MAX or not text.isprintable():
        raise BadCall(f"a right has at most {RIGHT_CHARS_MAX} printable characters (abi.limits)")
    if text == "*":
        return Scope("*")
    family, colon, rest = text.partition(":")
    if family not in FAMILIES:
        raise BadCall(f"right {text!r}: no family {family!r}; there is: {', '.join(FAMILIES)}")
    name, access = _parts(family, rest) if colon else ("*", _ALL)
    if not name:  # Most often a variable that was not set: nobody means everything by that.
        raise BadCall(f"right {text!r}: its name is empty; `{family}` alone stands for all names")
    if family in NAMELESS and name != "*":
        raise BadCall(f"right {text!r}: {family} takes no name")
    if family == "file" and not name.startswith(("/", "*")):
        raise BadCall(f"right {text!r}: a file's name is a whole path, as in file:/notes:read")
    if family == "file" and ".." in name.split("/"):
        raise BadCall(f"right {text!r}: no `..` in a path")
    name = name.lower() if family == "net" else name
    return Scope(family, name, access, name.partition("*")[0].rstrip("/"))


def canonical(texts: Iterable[str]) -> Rights:
    """The rights in their shortest words, without those that others cover.  Raises `BadCall`."""
    return _canonical(tuple(text.strip() for text in texts))


@lru_cache(maxsize=RIGHTS_COMPILED_MAX)
def _canonical(texts: tuple[str, ...]) -> Rights:
    scopes = [read(text) for text in texts if text]
    if len(scopes) > RIGHTS_MAX:
        raise BadCall(f"{len(scopes)} rights; at most {RIGHTS_MAX} (RIGHTS_MAX)")
    kept: list[Scope] = []
    for scope in scopes:
        if not any(other.covers(scope) for other in kept):
            kept = [other for other in kept if not scope.covers(other)] + [scope]
    return tuple(str(scope) for scope in kept)


def covers(held: Rights, wanted: str) -> bool:
    """Whether one of `held` allows all that `wanted` allows."""
    scope = read(wanted)
    return any(read(text).covers(scope) for text in held)


def narrowed(held: Rights, wanted: Iterable[str], whose: str = "the caller") -> Rights:
    """`wanted`, all of which must be held.  Raises `Denied` naming the first that is not."""
    rights = canonical(wanted)
    for text in rights:
        if not covers(held, text):
            raise Denied(
                f"right {text!r} is more than {whose} holds, and nobody can give what he has not: "
                f"{shown(held)}"
            )
    return rights


def both(first: Rights, second: Rights) -> Rights:
    """What is surely allowed by both: the rights of each that the other covers."""
    if first == EVERYTHING:
        return second
    ours = [text for text in first if covers(second, text)]
    return canonical([*ours, *(text for text in second if covers(first, text))])


def without(held: Rights, taken: str) -> Rights:
    """Those of `held` that `taken` does not cover."""
    scope = read(taken)
    return tuple(text for text in held if not scope.covers(read(text)))


def overlaps(one: Scope, other: Scope) -> bool:
    """Whether something may be allowed by both; says yes where it can't tell."""
    if "*" in (one.family, other.family):
        return True
    if one.family != other.family or not set(one.access) & set(other.access):
        return False
    return any(_meet(mine, theirs) for mine in one.patterns for theirs in other.patterns)


def shown(rights: Sequence[str]) -> str:
    """For people, within reason."""
    more = f" and {len(rights) - 8} more" if len(rights) > 8 else ""
    return (", ".join(rights[:8]) or "nothing") + more


def _parts(family: str, rest: str) -> tuple[str, tuple[str, ...]]:
    """Name and access of `NAME[:ACCESS]`."""
    if family not in WITH_ACCESS:
        return rest, _ALL
    name, colon, last = rest.rpartition(":")
    if last == "write|read":
        last = "read|write"
    if colon and last in _ACCESSES:
        return name, _ACCESSES[last]
    return rest, _ALL


def _has_port(host: str) -> bool:
    _, colon, port = host.rpartition(":")
    return bool(colon) and not port.endswith("]") and port != ""


def _meet(one: str, other: str) -> bool:
    if "*" not in one or "*" not in other:
        return fits(one, other) or fits(other, one)
    heads = one.split("*")[0], other.split("*")[0]
    tails = one.split("*")[-1][::-1], other.split("*")[-1][::-1]
    return _begin_alike(*heads) and _begin_alike(*tails)


def _begin_alike(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
