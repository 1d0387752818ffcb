"""Fields that are *held outside*: marked `"x-held-outside": true` in a tool's schema.

Their values never enter the journal, the memory or a log; what does is a handle, `held:` and a
keyed digest.  The value itself stays in the system that the tool speaks for, and for a while in
this vault, so that one tool's result can be another's argument.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from orlop.abi.errors import BadCall
from orlop.abi.ids import TenantId
from orlop.abi.limits import HELD_BYTES_MAX, HELD_VALUES_MAX

MARK: Final = "x-held-outside"
PREFIX: Final = "held:"
HANDLE_CHARS: Final = len(PREFIX) + 64

REFERENCES_MAX: Final = 64
"""Steps from a schema to another that says more of the same value; a ring ends here."""

Change: TypeAlias = Callable[[object], object]


class Vault:
    """Values by tenant and handle, in RAM only; the longest unused leave first."""

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[TenantId, str], bytes] = OrderedDict()
        self._bytes = 0

    def put(self, tenant: TenantId, handle: str, value: object) -> None:
        data = msgspec.json.encode(value)
        self._bytes += len(data) - len(self._values.pop((tenant, handle), b""))
        self._values[tenant, handle] = data
        while len(self._values) > HELD_VALUES_MAX or self._bytes > HELD_BYTES_MAX:
            _, gone = self._values.popitem(last=False)
            self._bytes -= len(gone)

    def get(self, tenant: TenantId, handle: str) -> object:
        """Raises `KeyError` where it is not known, or no longer."""
        self._values.move_to_end((tenant, handle))
        value: object = msgspec.json.decode(self._values[tenant, handle])
        return value


def is_marked(schema: object) -> bool:
    """Whether a field of it, however deep, is held outside.

    Raises `BadCall` for a mark where `changed` would not find it: then its value would leak.
    """
    marks = set(_marks(schema))
    if not marks <= set(_followed(schema, schema, REFERENCES_MAX)):
        raise BadCall(
            f"{MARK} is kept in properties, additionalProperties, items, allOf, anyOf, oneOf and "
            "what `$ref` names in the same schema, and not elsewhere"
        )
    return bool(marks)


def _marks(schema: object) -> Iterator[int]:
    """Each marked part of the schema, wherever it is, by its identity."""
    if isinstance(schema, Mapping):
        if schema.get(MARK) is True:
            yield id(schema)
        for part in schema.values():
            yield from _marks(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _marks(part)


def _followed(schema: object, root: object, references: int) -> Iterator[int]:
    """Likewise, those that `changed` finds."""
    for part in _alternatives(schema, root, references):
        if part.get(MARK) is True:
            yield id(part)
        named = part.get("properties")
        inside = [*named.values()] if isinstance(named, Mapping) else []
        for inner in (*inside, part.get("additionalProperties"), part.get("items")):
            yield from _followed(inner, root, references - 1)


def _alternatives(schema: object, root: object, references: int) -> Iterator[Mapping[str, object]]:
    """The schema itself, and all that is said of the same value elsewhere."""
    if not isinstance(schema, Mapping) or references < 0:
        return
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for part in _list(schema.get(word)):
            yield from _alternatives(part, root, references - 1)
    if "$ref" in schema:
        yield from _alternatives(_named(str(schema["$ref"]), root), root, references - 1)


def _named(reference: str, root: object) -> object:
    """What `#/$defs/NAME` stands for; None for what is not in this schema."""
    found = root if reference.startswith("#") else None
    for word in filter(None, reference.removeprefix("#").split("/")):
        name = word.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def is_handle(value: object) -> bool:
    return isinstance(value, str) and len(value) == HANDLE_CHARS and value.startswith(PREFIX)


def changed(value: object, schema: object, change: Change) -> object:
    """`value` with `change` made to each marked field."""
    return _changed(value, schema, schema, change)


def _changed(value: object, schema: object, root: object, change: Change) -> object:
    for part in _alternatives(schema, root, REFERENCES_MAX):
        if part.get(MARK) is True:
            return change(value)
        if isinstance(value, Mapping):
            properties = part.get("properties")
            named = properties if isinstance(properties, Mapping) else {}
            others = part.get("additionalProperties")
            value = {
                name: _changed(item, named.get(name, others), root, change)
                for name, item in value.items()
            }
        elif isinstance(value, list | tuple):
            value = [_changed(item, part.get("items"), root, change) for item in value]
    return value


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def every(value: object, change: Change) -> object:
    """`value` with `change` made to each text in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: every(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [every(item, change) for item in value]
    return value
