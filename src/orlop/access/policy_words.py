"""What policies can speak of: one schema over all families of calls, and the facts in it.

The Cedar schema, the facts that the kernel computes and their documentation all come from the
tables here, so that a rule can't name what is never there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.limits import SCHEMA_DEPTH_MAX

ENTITIES: Final[Mapping[str, str]] = {
    "Tenant": "",
    "Team": "",
    "Group": "",
    "Program": "",
    "Agent": " in [Group]",
    "Process": " in [Agent, Team, Group, Program, Tenant] = { name: String, pid: Long, "
    "program: String, version: String, team: String, tenant: String, groups: Set<String> }",
    "Model": " in [Group] = { name: String, kind: String, paid: Bool }",
    "Tool": " in [Group] = { name: String, effect: String, trust: String, server: String, "
    "price: Long, labels: Set<String> }",
    "Memory": " in [Agent, Team, Group] = { name: String, owner: String, groups: Set<String> }",
    "File": " in [Agent, Team, Group] = { name: String, owner: String, groups: Set<String> }",
    "Host": " in [Group] = { name: String, port: Long }",
    "Person": " in [Group] = { name: String }",
}
"""Types of things, in Cedar's words."""

ACTIONS: Final[Mapping[str, str]] = {
    "infer": "Model",
    "embed": "Model",
    "call_tool": "Tool",
    "spawn": "Agent",
    "signal": "Process",
    "ask": "Person",
    "remember": "Memory",
    "recall": "Memory",
    "forget": "Memory",
    "read": "File",
    "write": "File",
    "list": "File",
    "pipe": "File",
    "share": "File",
    "net": "Host",
}
"""What may be done, each to one type of things.  A process's own affairs (`wait`, `sleep`, `exit`,
`patch`, `outcome`) concern nobody else, so no rule is asked."""

WINDOWS: Final[Mapping[str, int]] = {"minute": 60, "hour": 3_600, "day": 86_400}
"""Seconds that calls are counted back."""

ACCOUNTS: Final = ("process", "agent", "task", "team", "organisation")
SPENT: Final = ("nano_dollars", "tokens", "calls", "held_nano_dollars", "held_tokens")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One fact.  `default`: in a test case that does not say; `actions`: empty for all."""

    path: str
    type: str
    default: object
    doc: str
    actions: tuple[str, ...] = ()


def _leaves() -> Iterable[Leaf]:
    yield Leaf("taint", "Set<String>", [], "labels of what the call was made from")
    yield Leaf("autonomy", "String", "autonomous", "the agent's level of autonomy with this tool")
    yield Leaf("class", "String", "standard", "`interactive`, `standard` or `batch`")
    yield Leaf("subject", "String", "", "whose case it is, as the caller says")
    for account in ACCOUNTS:
        for window in WINDOWS:
            said = f"calls of this action on this resource by the {account} in the last {window}"
            yield Leaf(f"calls.{account}.{window}", "Long", 0, said + ", those in flight included")
    for account in ACCOUNTS:
        for unit in SPENT:
            said = f"{unit} of the {account}, in its budget's period"
            yield Leaf(f"spend.{account}.{unit}", "Long", 0, said)
    yield Leaf("time.hour", "Long", 12, "0 to 23, in `[policy] zone`")
    yield Leaf("time.minute", "Long", 0, "0 to 59")
    yield Leaf("time.weekday", "Long", 3, "1 (Monday) to 7")
    yield Leaf("time.unix", "Long", 1_767_787_200, "seconds since 1970")
    for name in ("engine", "device", "region"):
        said = f"{name} that would serve it; engines that are refused are not asked"
        yield Leaf(name, "String", "", said, ("infer", "embed"))
    yield Leaf("tools", "Set<String>", [], "names of the tools that the model is shown", ("infer",))
    yield Leaf("arguments", "", {}, "the tool's arguments, by their schema", ("call_tool",))
    yield Leaf("command", "String", "", "the command line", ("spawn",))
    yield Leaf("signal", "String", "term", "its name", ("signal",))
    yield Leaf("method", "String", "GET", "of HTTP", ("net",))
    yield Leaf("url", "String", "", "what is asked for", ("net",))


LEAVES: Final = tuple(_leaves())


def leaves_of(action: str) -> Sequence[Leaf]:
    return [leaf for leaf in LEAVES if not leaf.actions or action in leaf.actions]


def wanted(paths: Iterable[str]) -> frozenset[str]:
    """The facts that rules look at, by the paths that they name: one, all below it, or its whole.

    `calls.agent` means the three windows; `arguments.to` means the arguments.
    """
    found = set[str]()
    for path in paths:
        for leaf in LEAVES:
            is_above = path in ("", leaf.path) or leaf.path.startswith(f"{path}.")
            if is_above or path.startswith(f"{leaf.path}."):
                found.add(leaf.path)
    return frozenset(found)


def nested(values: Mapping[str, object]) -> dict[str, object]:
    """`{"time.hour": 3}` as `{"time": {"hour": 3}}`."""
    found: dict[str, object] = {}
    for path, value in values.items():
        *above, last = path.split(".")
        here = found
        for name in above:
            inner = here.setdefault(name, {})
            assert isinstance(inner, dict)
            here = inner
        here[last] = value
    return found


@dataclass(frozen=True, slots=True)
class Entity:
    """Who acts, or what is acted on.  `groups` are of the policy; parents are by nature."""

    type: str
    id: str
    attributes: Mapping[str, object] = field(default_factory=dict)
    parents: tuple[tuple[str, str], ...] = ()


def process(
    id: str, agent: str, *, pid: int, program: str, version: str, team: str, tenant: str
) -> Entity:
    parents = [("Agent", agent), ("Tenant", tenant)]
    parents += [("Team", team)] if team else []
    parents += [("Program", program)] if program else []
    said = {
        "name": agent,
        "pid": pid,
        "program": program,
        "version": version,
        "team": team,
        "tenant": tenant,
        "groups": [],
    }
    return Entity("Process", id, said, tuple(parents))


BLANK: Final[Mapping[str, Mapping[str, object]]] = {
    "Model": {"kind": "chat", "paid": False},
    "Tool": {"effect": "irreversible", "trust": "trusted", "server": "", "price": 0, "labels": []},
    "Memory": {"owner": "", "groups": []},
    "File": {"owner": "", "groups": []},
    "Host": {"port": 443},
    "Person": {},
    "Agent": {},
    "Process": {"pid": 1, "program": "", "version": "", "team": "", "tenant": "default"}
    | {"groups": []},
}
"""Attributes of things that nothing more is known of."""

NAMED: Final = frozenset(BLANK) - {"Agent"}
"""Types of things that have their name as an attribute."""


def thing(
    action: str,
    name: str,
    attributes: Mapping[str, object] | None = None,
    parents: tuple[tuple[str, str], ...] = (),
) -> Entity:
    """What `action` is done to."""
    kind = ACTIONS[action]
    own = {"name": name} if kind in NAMED else {}
    return Entity(kind, name, {**BLANK[kind], **own, **(attributes or {})}, parents)


def schema(arguments: str = "{}") -> str:
    """The whole schema in Cedar's words.  arguments: the type of a tool's arguments."""
    lines = [f"entity {name}{shape};" for name, shape in ENTITIES.items()]
    for action, kind in ACTIONS.items():
        types = {leaf.path: leaf.type or arguments for leaf in leaves_of(action)}
        context = _record(nested(types))
        lines.append(
            f"action {action} appliesTo {{ principal: [Process], resource: [{kind}], "
            f"context: {context} }};"
        )
    return "\n".join(lines) + "\n"


def _record(shape: Mapping[str, object]) -> str:
    fields = [
        f"{name}: {_record(inner) if isinstance(inner, dict) else inner}"
        for name, inner in shape.items()
    ]
    return "{ " + ", ".join(fields) + " }"


def arguments_type(json_schema: Mapping[str, object]) -> str:
    """A tool's arguments as a Cedar type: what JSON schema says in ways that Cedar has too.

    The rest (numbers with a fraction, unions, references) can't be named by rules.
    """
    return _object(json_schema, 0) or "{}"


def _object(schema: Mapping[str, object], depth: int) -> str:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or depth > min(SCHEMA_DEPTH_MAX, 8):
        return ""
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    fields = []
    for name, inner in properties.items():
        if isinstance(inner, dict) and (kind := _type(inner, depth + 1)):
            quoted = str(name).replace("\\", "\\\\").replace('"', '\\"')
            fields.append(f'"{quoted}"{"" if name in needed else "?"}: {kind}')
    return "{ " + ", ".join(fields) + " }"


def _type(schema: Mapping[str, object], depth: int) -> str:
    match schema.get("type"):
        case "string":
            return "String"
        case "integer":
            return "Long"
        case "boolean":
            return "Bool"
        case "array":
            items = schema.get("items")
            inner = _type(items, depth + 1) if isinstance(items, dict) and depth < 8 else ""
            return f"Set<{inner}>" if inner else ""
        case "object":
            return _object(schema, depth)
        case _:
            return ""


def cedar_value(value: object, depth: int = 0) -> object:
    """A JSON value as Cedar can read it; None: it can't (null, fractions, too deep or too large).

    `__entity` and `__extn` would be read as Cedar's own; a name like these is left out.
    """
    match value:
        case bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else None
        case list() if depth < 8:
            items = [cedar_value(item, depth + 1) for item in value]
            return [item for item in items if item is not None]
        case dict() if depth < 8:
            pairs = ((str(name), cedar_value(item, depth + 1)) for name, item in value.items())
            return {
                name: item for name, item in pairs if item is not None and not name.startswith("__")
            }
        case _:
            return None
