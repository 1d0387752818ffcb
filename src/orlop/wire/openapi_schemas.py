"""The schemas of an OpenAPI document, each made whole: what it refers to comes with it.

Tools' schemas stand alone, so references into the document become references into `$defs`.
OpenAPI 3.0 has a dialect of its own, whose `nullable` JSON Schema does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orlop.abi.errors import BadCall
from orlop.abi.limits import SCHEMA_DEPTH_MAX

COMPONENTS: Final = "#/components/schemas/"
OLD_DRAFT: Final = "http://json-schema.org/draft-04/schema#"
"""What the schemas of OpenAPI 3.0 come from: there `exclusiveMinimum` is true or false."""

REFERENCES_MAX: Final = 20
"""References to references."""

DATA: Final = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose values are no schemas."""

NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""Keywords whose values have schemas by name."""

DROPPED: Final = frozenset({"discriminator", "xml", "externalDocs", "example", "nullable"})
"""OpenAPI's own words."""


@dataclass(frozen=True, slots=True)
class Document:
    """is_old: 3.0."""

    root: Mapping[str, object]
    is_old: bool

    def resolved(self, node: object) -> object:
        """What a reference stands for; anything else as it is.  Raises `BadCall`."""
        for _ in range(REFERENCES_MAX):
            reference = mapping(node).get("$ref")
            if not isinstance(reference, str):
                return node
            node = self._at(reference)
        raise BadCall("its references go round in a circle")

    def _at(self, reference: str) -> object:
        found: object = self.root
        if not reference.startswith("#/"):
            raise BadCall(f"it refers to {reference[:200]!r}, outside of the document")
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise BadCall(f"it refers to {reference[:200]!r}: nothing there")
            found = found[name]
        return found


def mapping(node: object) -> Mapping[str, object]:
    """`node` where it is an object, else an empty one: documents are written by hand."""
    return node if isinstance(node, dict) else {}


def schema_with_definitions(document: Document, schema: Mapping[str, object]) -> dict[str, object]:
    """The schema, and in `$defs` all that it refers to.  Raises `BadCall`."""
    wanted: dict[str, None] = {}
    whole = _rewritten(document, schema, wanted, 0)
    assert isinstance(whole, dict)
    definitions: dict[str, object] = {}
    while missing := [name for name in wanted if name not in definitions]:
        for name in missing:
            found = document.resolved({"$ref": COMPONENTS + name})
            definitions[name] = _rewritten(document, found, wanted, 0)
    if definitions:
        whole["$defs"] = {_plain(name): found for name, found in definitions.items()}
    if document.is_old:
        whole["$schema"] = OLD_DRAFT
    return whole


def _plain(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


def _rewritten(document: Document, node: object, wanted: dict[str, None], depth: int) -> object:
    if depth > SCHEMA_DEPTH_MAX:
        raise BadCall(f"a schema is more than {SCHEMA_DEPTH_MAX} deep (SCHEMA_DEPTH_MAX)")
    if isinstance(node, list):
        return [_rewritten(document, child, wanted, depth + 1) for child in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        if not reference.startswith(COMPONENTS):
            return _rewritten(document, document.resolved(node), wanted, depth + 1)
        name = reference.removeprefix(COMPONENTS)
        wanted[name] = None
        return {"$ref": f"#/$defs/{name}"}
    written: dict[str, object] = {}
    for key, child in node.items():
        if key in NAMED and isinstance(child, dict):
            written[key] = {
                name: _rewritten(document, one, wanted, depth + 1) for name, one in child.items()
            }
        elif key not in DROPPED:
            is_data = key in DATA
            written[key] = child if is_data else _rewritten(document, child, wanted, depth + 1)
    return _nullable(written) if document.is_old and node.get("nullable") is True else written


def _nullable(schema: dict[str, object]) -> dict[str, object]:
    """OpenAPI 3.0's `nullable: true`, in JSON Schema's words."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
