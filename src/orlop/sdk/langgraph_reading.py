"""Checkpoints read back: a document, the values it refers to, and what tasks wrote after it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from orlop.abi.errors import NotFound
from orlop.abi.files import FileContent
from orlop.sdk.files_sync import SyncFiles
from orlop.sdk.langgraph_records import (
    Document,
    Held,
    Here,
    Listed,
    Place,
    Stretch,
    Value,
    Written,
    counting,
    frames,
    item,
    opened,
)
from orlop.sdk.langgraph_values import Seen


@dataclass(frozen=True, slots=True)
class Reader:
    files: SyncFiles
    serde: SerializerProtocol
    root: str
    """The folder of all threads."""

    def found(
        self, paths: Iterable[str], filter: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Document, Sequence[Written]]]:
        """Those of the checkpoints that are there and pass the filter."""
        for path in paths:
            (data,) = self.files.read_those([path])
            document, written = opened(data or b"")
            if document is None:
                continue
            metadata = self.serde.loads_typed(document.metadata) if filter else {}
            if filter and any(metadata.get(key) != value for key, value in filter.items()):
                continue
            yield document, counting(written)

    def whole(
        self, document: Document, written: Sequence[Written], *, follows: Seen | None = None
    ) -> CheckpointTuple:
        """With all that it refers to.

        follows: hears of it, since the next checkpoint will follow this one.
        Raises `NotFound` where something that it refers to is gone.
        """
        place = Place(self.root, document.thread, document.namespace)
        checkpoint = self.serde.loads_typed(document.checkpoint)
        lists = self._lists(place, document, written)
        if follows is not None:
            follows.put(place, document.id, checkpoint["channel_versions"], document.values)
            for channel, value in document.values.items():
                if isinstance(value, Listed) and value.file:
                    follows.read(place, channel, value, lists[value.file])
        held = self._held(place, document)
        checkpoint["channel_values"] = {
            channel: self._loaded(channel, value, lists, held)
            for channel, value in document.values.items()
        }
        parent = document.parent
        return CheckpointTuple(
            config=place.config(document.id),
            checkpoint=checkpoint,
            metadata=self.serde.loads_typed(document.metadata),
            parent_config=place.config(parent) if parent else None,
            pending_writes=[(one.task, one.channel, self._wrote(one, lists)) for one in written],
        )

    def _lists(
        self, place: Place, document: Document, written: Sequence[Written]
    ) -> Mapping[str, FileContent]:
        """The files with items that they speak of."""
        files = {one.file for one in document.values.values() if isinstance(one, Listed)}
        files |= {one.value.file for one in written if isinstance(one.value, Stretch)}
        wanted = sorted(files - {""})
        found = self.files.contents([place.values(file) for file in wanted]) if wanted else ()
        there = {}
        for file, content in zip(wanted, found, strict=True):
            if content is None:
                raise NotFound(f"{place.values(file)}, which checkpoint {document.id} needs")
            there[file] = content
        return there

    def _held(self, place: Place, document: Document) -> Mapping[str, Document]:
        """Earlier checkpoints with values of this one; also those that were deleted since."""
        ids = sorted({one.id for one in document.values.values() if isinstance(one, Held)})
        paths = [place.checkpoint(id) for id in ids]
        found: dict[str, Document] = {}
        contents = self.files.read_those(paths) if paths else ()
        for id, path, data in zip(ids, paths, contents, strict=True):
            earlier, _ = opened(self._deleted(path) if data is None else data)
            if earlier is None:
                raise NotFound(f"checkpoint {id}, which {document.id} needs")
            found[id] = earlier
        return found

    def _deleted(self, path: str) -> bytes:
        there = [row.version for row in self.files.versions(path) if row.kind == "file"]
        return self.files.read(path, version=there[-1]) if there else b""

    def _loaded(
        self,
        channel: str,
        value: Value,
        lists: Mapping[str, FileContent],
        held: Mapping[str, Document],
    ) -> object:
        if isinstance(value, Held):
            return self._loaded(channel, held[value.id].values[channel], lists, held)
        if isinstance(value, Here):
            return self.serde.loads_typed(value.value)
        return self._items(lists[value.file].data[: value.size]) if value.file else []

    def _wrote(self, one: Written, lists: Mapping[str, FileContent]) -> object:
        if not isinstance(one.value, Stretch):
            return self.serde.loads_typed(one.value.value)
        start = one.value.offset
        return self._items(lists[one.value.file].data[start : start + one.value.length])

    def _items(self, data: bytes) -> Sequence[object]:
        return [self.serde.loads_typed(item(frame)) for frame in frames(data)]
