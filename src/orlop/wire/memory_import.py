"""Memories of other systems, read from their exports: Mem0, Letta, LangGraph's stores, and ours.

Each is JSON or lines of JSON.  What a field means there, and where it goes here:

mem0       {"results": [{"id", "memory", "user_id", "agent_id", "run_id", "metadata", "created_at",
           "expiration_date"}]}: users are subjects, agents are namespaces.
letta      an agent file: {"agents": [{"name", "block_ids"}], "blocks": [{"id", "label", "value",
           "description"}]}, or an older one of one agent: {"name", "core_memory": [..],
           "archival_memory" | "passages": [{"text", "tags", "metadata_"}]}: a block is a fact with
           its label as key, for each agent that has it.
langgraph  lines of {"namespace": [..], "key", "value", "created_at", "updated_at"}, which items'
           `dict()` gives, or its tables' rows (`prefix`): the value's `text`, `content` or
           `memory` is the text (LangMem's lies one deeper), and all of it the attributes.
orlop      lines of `orlop memory export`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from orlop.abi.errors import BadCall
from orlop.abi.ids import Nanoseconds
from orlop.abi.memory import Item

Format = Literal["orlop", "mem0", "letta", "langgraph"]
_TEXTS: Final = ("text", "content", "memory", "data", "value")
_NS: Final = 1_000_000_000


class Brought(Struct, frozen=True):
    """One memory; namespace: empty where its system names none."""

    namespace: str
    item: Item


def read(format: Format, text: str) -> Iterator[Brought]:
    """Raises `BadCall` naming the place."""
    reader: Mapping[Format, Callable[[object], Iterator[Brought]]] = {
        "orlop": _orlop,
        "mem0": _mem0,
        "letta": _letta,
        "langgraph": _langgraph,
    }
    for number, document in enumerate(_documents(text), start=1):
        try:
            yield from reader[format](document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadCall(f"record {number} is no {format} export: {error!r}") from error


def _documents(text: str) -> Iterator[object]:
    """One JSON text, or one a line."""
    try:
        yield json.loads(text)
    except ValueError:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise BadCall(f"line {number} is no JSON: {error}") from error


def _rows(document: object, *names: str) -> list[dict[str, object]]:
    """The list under one of the names, or the document itself."""
    found = document
    if isinstance(document, dict):
        found = next((document[name] for name in names if name in document), [document])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"no list of {' or '.join(names)}")
    return found


def _mem0(document: object) -> Iterator[Brought]:
    for row in _rows(document, "results", "memories"):
        user, agent = row.get("user_id"), row.get("agent_id")
        attributes = _object(row.get("metadata"))
        if row.get("run_id"):
            attributes["run_id"] = row["run_id"]
        yield Brought(
            f"agents/{_word(agent)}" if agent else "",
            Item(
                text=_text(row, "memory", "text", "data"),
                subjects=(f"user:{user}",) if user else (),
                attributes=attributes,
                valid_from_ns=_moment(row.get("created_at")),
                valid_to_ns=_moment(row.get("expiration_date")),
                sources=(f"mem0:{row['id']}",) if row.get("id") else (),
            ),
        )


def _letta(document: object) -> Iterator[Brought]:
    if not isinstance(document, dict):
        raise ValueError("no object")
    namespace = _agents(document)
    owners = [
        (_agents(agent), _list(agent.get("block_ids")))
        for agent in map(_object, _list(document.get("agents")))
    ]
    for block in _rows(document, "core_memory", "blocks"):
        if "value" in block and str(block["value"]).strip():
            item = Item(
                text=str(block["value"]),
                key=str(block.get("label", "")),
                kind="block",
                attributes=_object({"description": block.get("description")}),
                sources=("letta:block",),
            )
            having = [name for name, blocks in owners if block.get("id") in blocks]
            for name in having or [namespace]:
                yield Brought(name, item)
    for passage in _rows(document, "archival_memory", "passages"):
        if "text" in passage:
            yield Brought(
                namespace,
                Item(
                    text=str(passage["text"]),
                    kind="passage",
                    attributes=_object(
                        {**_object(passage.get("metadata_")), "tags": passage.get("tags")}
                    ),
                    valid_from_ns=_moment(passage.get("created_at")),
                    sources=("letta:passage",),
                ),
            )


def _agents(agent: Mapping[str, object]) -> str:
    """The namespace of whom it names."""
    return f"agents/{_word(agent['name'])}" if agent.get("name") else ""


def _langgraph(document: object) -> Iterator[Brought]:
    for row in _rows(document, "items", "data"):
        place = row["namespace"] if "namespace" in row else row["prefix"]
        words = place if isinstance(place, list) else str(place).split(".")
        value = _object(row["value"])
        yield Brought(
            "/".join(_word(word) for word in words) or "",
            Item(
                text=_said(value) or json.dumps(value),
                key=str(row["key"]),
                kind="item",
                attributes=value,
                sources=(f"langgraph:{row['key']}",),
            ),
        )


def _orlop(document: object) -> Iterator[Brought]:
    for row in _rows(document, "memories"):
        if row.get("known_to") is not None:
            continue  # Of the past, which is not to be had again by writing.
        yield Brought(
            str(row["namespace"]),
            Item(
                text=str(row["text"]),
                key=str(row.get("key", "")),
                kind=str(row.get("kind", "fact")),
                attributes=_object(row.get("attributes")),
                subjects=(str(row["subject"]),) if row.get("subject") else (),
                valid_from_ns=_number(row.get("valid_from_ns")),
                valid_to_ns=_end(row),
                confidence=float(str(row.get("confidence", 1.0))),
                sources=(f"{row['memory']}@{row['version']}", *map(str, _list(row.get("sources")))),
                model=str(row.get("model", "")),
                vector=tuple(float(str(number)) for number in _list(row.get("vector"))),
                vector_model=str(row.get("vector_model", "")),
                sealed=row.get("sealed") is True,
                labels=tuple(map(str, _list(row.get("labels")))),
            ),
        )


def _end(row: Mapping[str, object]) -> Nanoseconds | None:
    """When it ends, or expires: a time to live goes on where it was, and does not begin anew."""
    ends = [_number(row.get(name)) for name in ("valid_to_ns", "expires_ns")]
    return min((end for end in ends if end is not None), default=None)


def _said(value: Mapping[str, object]) -> str:
    """The text in a value of a store; empty: its form is the application's own."""
    for name in _TEXTS:
        match value.get(name):
            case str() as text if text.strip():
                return text
            case dict() as inner if deeper := _said(inner):
                return deeper
    return ""


def _text(row: Mapping[str, object], *names: str) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value
    raise ValueError(f"no text under {' or '.join(names)}")


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        return {}
    return {str(name): inner for name, inner in value.items() if inner is not None}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _word(value: object) -> str:
    """One word of a namespace."""
    return "".join(letter if letter.isalnum() or letter in "-_.@" else "-" for letter in str(value))


def _number(value: object) -> Nanoseconds | None:
    return Nanoseconds(value) if isinstance(value, int) else None


def _moment(value: object) -> Nanoseconds | None:
    """An ISO 8601 date; without a zone: UTC."""
    if not isinstance(value, str) or not value:
        return None
    moment = datetime.fromisoformat(value)
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return Nanoseconds(int(moment.timestamp()) * _NS)
