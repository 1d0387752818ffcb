"""How LangGraph's checkpoints lie in files: frames, each a length and a record.

checkpoints/ID     the checkpoint, and what tasks wrote after it, one frame after another
values/CHANNEL     the items of a list, as long as it only grows; another file where it was changed

Both are only ever appended to, so a file and a size name a list for ever.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import writes_sort_key
from msgspec import Struct

NAME_CHARS_MAX = 200
"""Of one word of a path; longer names are shown by a digest."""

Typed = tuple[str, bytes]


class Here(Struct, frozen=True, array_like=True, tag="v"):
    """A channel's value in the checkpoint itself."""

    value: Typed


class Held(Struct, frozen=True, array_like=True, tag="h"):
    """It has not changed since the checkpoint `id`, where it lies."""

    id: str


class Listed(Struct, frozen=True, array_like=True, tag="l"):
    """A list: the first `size` bytes of a file of items.  An empty list has no file."""

    file: str
    size: int


Value = Here | Held | Listed


class Document(Struct, frozen=True, array_like=True, tag="c"):
    """A checkpoint.  Names of folders may be digests, so it says who it is."""

    thread: str
    namespace: str
    id: str
    parent: str | None
    checkpoint: Typed
    metadata: Typed
    values: dict[str, Value]


class Stretch(Struct, frozen=True, array_like=True, tag="s"):
    """Items that lie in a file of a list."""

    file: str
    offset: int
    length: int


class Written(Struct, frozen=True, array_like=True, tag="w"):
    """What a task wrote to a channel: a value, or items that the list holds anyway."""

    task: str
    place: int
    channel: str
    path: str
    value: Here | Stretch


@dataclass(frozen=True, slots=True)
class Place:
    """One namespace of one thread."""

    root: str
    thread: str
    namespace: str

    @property
    def folder(self) -> str:
        return f"{self.root}/{word(self.thread)}/{word('ns=' + self.namespace)}"

    def checkpoint(self, id: str) -> str:
        return f"{self.folder}/checkpoints/{word(id)}"

    def values(self, file: str) -> str:
        return f"{self.folder}/values/{file}"

    def config(self, id: str) -> RunnableConfig:
        return {
            "configurable": {
                "thread_id": self.thread,
                "checkpoint_ns": self.namespace,
                "checkpoint_id": id,
            }
        }


def word(name: str) -> str:
    """A name as one word of a path."""
    quoted = quote(name, safe=" :|=@+,").replace(".", "%2E") or "%"
    if len(quoted) <= NAME_CHARS_MAX:
        return quoted
    return quoted[:100] + "~" + sha256(name.encode()).hexdigest()


def framed(record: Document | Written | Typed) -> bytes:
    data = msgspec.msgpack.encode(record)
    return len(data).to_bytes(4) + data


def frames(data: bytes) -> Iterator[bytes]:
    """With their lengths before them."""
    start = 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4])
        yield data[start:end]
        start = end


def item(frame: bytes) -> Typed:
    return _item.decode(frame[4:])


def opened(data: bytes) -> tuple[Document | None, list[Written]]:
    """A checkpoint's file: the checkpoint as it was put last, and all that tasks wrote."""
    document, written = None, list[Written]()
    for frame in frames(data):
        record = _record.decode(frame[4:])
        if isinstance(record, Document):
            document = record
        else:
            written.append(record)
    return document, written


def counting(written: Sequence[Written]) -> list[Written]:
    """Of two for one place the first, but of errors and interrupts the last; in order."""
    found: dict[tuple[str, int], Written] = {}
    for one in written:
        key = (one.task, one.place)
        if one.place < 0 or key not in found:
            found[key] = one
    return sorted(found.values(), key=lambda one: writes_sort_key(one.path, one.task, one.place))


_item: msgspec.msgpack.Decoder[Typed] = msgspec.msgpack.Decoder(Typed)
_record: msgspec.msgpack.Decoder[Document | Written] = msgspec.msgpack.Decoder(Document | Written)
