"""Every route and every system call, asked by one tenant with the ids of another.

Each request is made twice: with what is another tenant's, and with names of the same shape that
nobody has.  Nothing of the other's may be told, nothing of it may change, and the two answers must
be alike: that something is there is told to nobody outside.  Requests are made of the API's own
document, so a new route or call is tried without a word here.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

CANARY: Final = "canary-5527"
"""In what only the other tenant has said, and no request does."""

NAME: Final = "name-5527"
"""Of files, namespaces, teams and people: each tenant has its own of that name, or makes it."""

PROCESS: Final = "process-here-5527"
"""Of the other's process; and a name that nobody's has."""

NOBODY: Final = "process-none-5527"
OURS: Final = "/orlop/v1/"
LASTLY: Final = ("exit",)
"""Calls after which a caller is no more."""

SKIPPED: Final = frozenset(
    {"/health", "/ready", "/openapi.json", "/orlop/v1/pulled", "/orlop/v1/kernels"}
)
"""Without anybody's names, and the same for all."""

VOLATILE: Final = (
    (re.compile(r"[a-z]{3,5}_[0-9a-hjkmnp-tv-z]{26}"), "ID"),
    (re.compile(r"process-(here|none)-5527"), "NAME"),
    (re.compile(r"tenant-(one|none)"), "TENANT"),
    (re.compile(r"[0-9a-f]{16,}"), "HEX"),
    (re.compile(r"\d+(\.\d+)?(e-?\d+)?"), "N"),
)
"""What may differ between two answers that are alike."""

Json = Mapping[str, object]


class Asked(Protocol):
    """A kernel's HTTP API: `bench.isolation.Api`."""

    def ask(
        self, method: str, path: str, token: str, body: object = None, process: str = ""
    ) -> tuple[int, str]: ...


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    token: str


@dataclass(frozen=True, slots=True)
class Things:
    """What can be named: `of` by the word that a path or a field has for it."""

    of: Mapping[str, Sequence[str]]

    def all(self, word: str) -> Sequence[str]:
        return self.of.get(word, ())


@dataclass(slots=True)
class Found:
    """What came of it.  `told`, `unlike`: requests, in words."""

    tried: int = 0
    told: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)


FIELDS: Final[Mapping[str, str]] = {
    "what": "process",
    "processes": "process",
    "parent": "process",
    "paths": "path",
    "to": "path",
    "pipe": "path",
    "folder": "path",
    "namespaces": "namespace",
    "ids": "question",
    "id": "memory",
    "previous_response_id": "response",
    "agent": "name",
    "person": "name",
    "program": "name",
    "team": "name",
    "user": "name",
}
"""A field's thing, where they are called otherwise."""


def nothing(theirs: Things) -> Things:
    """As many names of the same shapes, that nobody has; what each tenant can have is the same."""
    unknown = [f"{'0' * 25}{letter}" for letter in "123456789"]
    shaped: dict[str, Sequence[str]] = {
        "process": [f"prc_{unknown[0]}", "999999", NOBODY],
        "tool": [f"prc_{unknown[0]}.lookup"],
        "account": [f"prc_{unknown[0]}", f"process:{NOBODY}"],
        "part": ["0" * 32],
        "tenant": ["tenant-none"],
    }
    for word, known in theirs.of.items():
        prefixes = [name.partition("_")[0] for name in known if "_" in name]
        ids = [f"{prefix}_{end}" for prefix, end in zip(prefixes, unknown, strict=False)]
        shaped.setdefault(word, ids if len(ids) == len(known) else known)
    return Things(shaped)


def apart(
    api: Asked, document: Json, callers: Sequence[Caller], theirs: Things, *, alike: bool = True
) -> Found:
    """Every request that the document allows, as each of the callers."""
    found, unknown = Found(), nothing(theirs)
    for caller in callers:
        for one in requests(document, theirs, unknown):
            found.tried += 1
            status, said = api.ask(one.method, one.path, caller.token, one.body, "mallory")
            where = f"{caller.name}: {one}: {status}"
            if CANARY in said:
                found.told.append(f"{where} {said[:200]}")
            if one.instead is None or not alike:
                continue
            path, body = one.instead
            other = api.ask(one.method, path, caller.token, body, "mallory")
            if shape(status, said) == shape(*other):
                continue
            # One may have been slower than the other: then both are asked what came of it.
            status, said = settled(api, caller, status, said)
            other = settled(api, caller, *other)
            if shape(status, said) != shape(*other):
                found.unlike.append(f"{where} {said[:300]} / {other[0]} {other[1][:300]}")
    return found


def settled(api: Asked, caller: Caller, status: int, said: str) -> tuple[int, str]:
    """What a call that was parked has come to meanwhile."""
    call = mapping(json.loads(said)).get("call") if status == 202 else None
    if call is None:
        return status, said
    return api.ask("get", f"{OURS}calls/{call}?wait=1", caller.token, None, "mallory")


@dataclass(frozen=True, slots=True)
class Request:
    """`instead`: the same with names that nobody has."""

    method: str
    path: str
    body: object
    instead: tuple[str, object] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {json.dumps(self.body)[:120]}"


def requests(document: Json, theirs: Things, unknown: Things) -> Iterator[Request]:
    """Those that make callers exit come last."""
    late: list[Request] = []
    for path, methods in mapping(document["paths"]).items():
        for method, operation in mapping(methods).items():
            if path in SKIPPED:
                continue
            for one in filled(path, method, mapping(operation), document, theirs, unknown):
                if mapping(one.body).get("type") in LASTLY:
                    late.append(one)
                else:
                    yield one
    yield from late


def filled(
    path: str, method: str, operation: Json, document: Json, theirs: Things, unknown: Things
) -> Iterator[Request]:
    words = [word[1:-1] for word in path.split("/") if word.startswith("{")]
    word = ("part" if path == f"{OURS}parts/{{name}}" else words[0]) if words else ""
    for place in range(max(1, len(theirs.all(word)))):
        made = []
        for things in (theirs, unknown):
            known = things.all(word)
            name = known[place].replace("/", "%2F") if place < len(known) else "x"
            at = re.sub(r"\{\w+\}", name, path) + query(operation, things, place)
            made.append((at, bodies(operation, document, things)))
        (at, mine), (elsewhere, others) = made
        for body, other in zip(mine, others, strict=True):
            instead = (elsewhere, other) if (at, body) != (elsewhere, other) else None
            yield Request(method, at, body, instead)


def query(operation: Json, things: Things, place: int) -> str:
    """Every field of the query that is a name; of numbers, none."""
    said = []
    for one in sequence(operation.get("parameters", ())):
        given = mapping(one)
        if given["in"] == "query" and (known := things.all(thing(str(given["name"])))):
            said.append(f"{given['name']}={known[min(place, len(known) - 1)]}")
        elif given["in"] == "query" and given["name"] in ("all", "past"):
            said.append(f"{given['name']}=1")
        elif given["in"] == "query" and given["name"] in ("wait", "timeout"):
            said.append(f"{given['name']}=0")
    return "?" + "&".join(said) if said else ""


def thing(name: str) -> str:
    return FIELDS.get(name, name)


def bodies(operation: Json, document: Json, things: Things) -> list[object]:
    """One for each way in which the schema can be met; the names in turn."""
    if "requestBody" not in operation:
        return [None]
    (content,) = mapping(mapping(operation["requestBody"])["content"]).values()
    schema = mapping(mapping(content)["schema"])
    many = [mapping(one) for one in sequence(schema.get("anyOf", ()))] or [schema]
    found: list[object] = []
    for one in many:
        found += [value(one, document, things, "", turn) for turn in range(3)]
        found.append(value(one, document, things, "", 0, only_required=True))
    return found


def value(  # noqa: C901 (one row a kind of schema)
    schema: Json,
    document: Json,
    things: Things,
    name: str,
    turn: int,
    *,
    depth: int = 0,
    only_required: bool = False,
) -> object:
    """Something that fits: another's names, where a field's name is that of a thing."""
    if "$ref" in schema:
        called = str(schema["$ref"]).rpartition("/")[2]
        schema = mapping(mapping(mapping(document["components"])["schemas"])[called])
    if "anyOf" in schema:
        some = [mapping(one) for one in sequence(schema["anyOf"])]
        schema = next((one for one in some if one.get("type") != "null"), some[0])
        return value(schema, document, things, name, turn, depth=depth)
    if "enum" in schema:
        words = sequence(schema["enum"])
        return words[turn % len(words)]
    if "const" in schema:
        return schema["const"]
    known = things.all(thing(name))
    match schema.get("type"):
        case "object":
            if depth > 6:
                return {}
            needed = sequence(schema.get("required", ()))
            fields = mapping(schema.get("properties", {}))
            return {
                field: value(mapping(one), document, things, field, turn, depth=depth + 1)
                for field, one in fields.items()
                if field in needed or (not only_required and wanted(field, things))
            }
        case "array":
            items = mapping(schema.get("items", {"type": "string"}))
            return [value(items, document, things, name, turn, depth=depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 1 if name != "seconds" else 0.01)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            if known:
                return known[turn % len(known)]
            return PLAIN.get(name, "x")


PLAIN: Final[Mapping[str, object]] = {
    "model": "fake",
    "url": "http://127.0.0.1:1/",
    "method": "GET",
    "right": "*",
    "when": "at 2199-01-01T00:00",
    "zone": "UTC",
    "query": CANARY[:6],
    "digest": "",
}


def wanted(field: str, things: Things) -> bool:
    """Of the fields that may be left out, those that hold something to work with."""
    return bool(things.all(thing(field))) or field in (
        "text",
        "query",
        "messages",
        "items",
        "files",
    )


def shape(status: int, said: str) -> tuple[int, str]:
    """Of an answer, what must be the same whatever is there: of an error its words, else what
    fields it has."""
    if status >= 400 or not said.startswith(("{", "[")):
        for pattern, word in VOLATILE:
            said = pattern.sub(word, said)
        return status, said
    try:
        return status, json.dumps(skeleton(json.loads(said)))
    except ValueError:
        return status, ""  # Lines; what they hold was looked at.


def skeleton(value: object) -> object:
    if isinstance(value, dict):
        return {name: skeleton(one) for name, one in sorted(value.items())}
    if isinstance(value, list):
        return ["some" if value else "none"]
    return type(value).__name__ if not isinstance(value, bool) else value


def mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
