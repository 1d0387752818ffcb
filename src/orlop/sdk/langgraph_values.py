"""What a saver has seen of checkpoints, so that of a step only what is new in it is written."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar

from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from orlop.abi.files import FileContent, FileWrite
from orlop.sdk.langgraph_records import (
    Held,
    Here,
    Listed,
    Place,
    Stretch,
    Typed,
    Value,
    framed,
    frames,
    word,
)

K = TypeVar("K")
V = TypeVar("V")

SEEN_MAX: Final = 1_024
"""Checkpoints, and lists, that are remembered."""

HELD_BYTES_MIN: Final = 64
"""Smaller values are told again rather than referred to."""


@dataclass(frozen=True, slots=True)
class _Put:
    """A checkpoint's values, so that the next one may refer to them."""

    id: str
    versions: ChannelVersions
    values: Mapping[str, Value]

    def has(self, channel: str, version: str | int | float | None) -> bool:
        return channel in self.values and self.versions.get(channel) == version


@dataclass(frozen=True, slots=True)
class _Grown:
    """A list as its file has it at `version`; its items by the digests of their frames."""

    file: str
    version: int
    size: int
    digests: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Growth:
    """A list on its way: the frames of its items, of which those from `first` on are new."""

    channel: str
    items: Sequence[bytes]
    first: int
    file: str
    size: int
    write: FileWrite

    def stretch(self, wanted: Sequence[bytes]) -> Stretch | None:
        """Where in the file the new items are just these."""
        count = len(wanted)
        for start in range(self.first, len(self.items) - count + 1) if count else ():
            if list(self.items[start : start + count]) == list(wanted):
                offset = self.size - sum(map(len, self.items[start:]))
                return Stretch(self.file, offset, sum(map(len, wanted)))
        return None


class Seen:
    """dumps: how LangGraph's values become bytes."""

    def __init__(self, dumps: Callable[[object], Typed]) -> None:
        self._dumps = dumps
        self._put: OrderedDict[str, _Put] = OrderedDict()
        """By a place's folder."""
        self._grown: OrderedDict[tuple[str, str], _Grown] = OrderedDict()
        """By a place's folder, and the channel."""

    def items(self, value: Sequence[object]) -> Sequence[bytes]:
        return [framed(self._dumps(one)) for one in value]

    def values(
        self,
        place: Place,
        parent: str | None,
        checkpoint: Checkpoint,
        *,
        apart: bool,
    ) -> tuple[dict[str, Value], list[Growth]]:
        """How each value is kept, and the lists that have grown.

        apart: lists get files of their own, whatever is there.
        """
        id, versions = checkpoint["id"], checkpoint["channel_versions"]
        before = self._put.get(place.folder)
        if before is not None and before.id != parent:
            before = None
        values: dict[str, Value] = {}
        growths: list[Growth] = []
        for channel, value in checkpoint["channel_values"].items():
            if before is not None and before.has(channel, versions.get(channel)):
                values[channel] = _again(before.id, before.values[channel])
                continue
            if type(value) is not list:
                values[channel] = Here(self._dumps(value))
                continue
            grown = None if apart else self._grown.get((place.folder, channel))
            own = word(channel) if grown is None and not apart else word(f"{channel}~{id}")
            values[channel], growth = self._growth(place, channel, value, grown, own)
            growths += [] if growth is None else [growth]
        return values, growths

    def put(
        self, place: Place, id: str, versions: ChannelVersions, values: Mapping[str, Value]
    ) -> None:
        """A checkpoint that the next one may follow."""
        _keep(self._put, place.folder, _Put(id, dict(versions), values))

    def grew(self, place: Place, growth: Growth, version: int) -> None:
        grown = _Grown(growth.file, version, growth.size, _digests(growth.items))
        _keep(self._grown, (place.folder, growth.channel), grown)

    def read(self, place: Place, channel: str, listed: Listed, content: FileContent) -> None:
        """A list that was read; it may grow on if it is all that its file has."""
        if content.size == listed.size:
            digests = _digests(list(frames(content.data)))
            grown = _Grown(listed.file, content.version, listed.size, digests)
            _keep(self._grown, (place.folder, channel), grown)

    def _growth(
        self, place: Place, channel: str, value: Sequence[object], grown: _Grown | None, own: str
    ) -> tuple[Listed, Growth | None]:
        """A list that begins with the one that is there grows on in its file.  own: another one."""
        items = self.items(value)
        first = len(grown.digests) if grown is not None else 0
        if grown is not None and _digests(items[:first]) == grown.digests:
            data = b"".join(items[first:])
            file, size = grown.file, grown.size + len(data)
            if not data:
                return Listed(file, size), None
            path = place.values(file)
            write = FileWrite(path=path, data=data, append=True, if_version=grown.version)
            return Listed(file, size), Growth(channel, items, first, file, size, write)
        if not items:
            return Listed("", 0), None
        data = b"".join(items)
        write = FileWrite(path=place.values(own), data=data, if_version=0)
        return Listed(own, len(data)), Growth(channel, items, 0, own, len(data), write)


def _digests(items: Sequence[bytes]) -> Sequence[bytes]:
    return [sha256(frame).digest() for frame in items]


def _again(id: str, value: Value) -> Value:
    """The same value once more."""
    if isinstance(value, Here) and len(value.value[1]) >= HELD_BYTES_MIN:
        return Held(id)
    return value


def _keep(known: OrderedDict[K, V], key: K, value: V) -> None:
    """The longest unused goes."""
    known[key] = value
    known.move_to_end(key)
    if len(known) > SEEN_MAX:
        known.popitem(last=False)
