"""LangGraph's checkpoints as files of the kernel: `graph.compile(checkpointer=OrlopSaver())`.

Each thread is a folder; in it, for each namespace:

checkpoints/ID          the checkpoint without the values of its channels, with its metadata
values/CHANNEL/VERSION  a value, written once; a list that has grown begins with its predecessor
writes/ID               what tasks wrote after a checkpoint, one after another

So a step stores what is new in it, is one call and one transaction, and lies in the same journal as
the rest: versioned, as-of any moment, shared by the same rules.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from msgspec import Struct

from orlop.abi.errors import NotFound
from orlop.abi.files import FileWrite
from orlop.sdk.sync import SyncKernel, connect_sync

FOLDER = "/langgraph"
NAME_CHARS_MAX = 200
"""Of one word of a path; longer names are shown by a digest."""

GROWTHS_KNOWN_MAX = 1_024
"""Lists whose items are remembered, so that only what is new in them is written."""

Typed = tuple[str, bytes]


class _Document(Struct, frozen=True, array_like=True):
    """A checkpoint's file.  Names of folders may be digests, so it says who it is."""

    thread: str
    namespace: str
    id: str
    parent: str | None
    checkpoint: Typed
    metadata: Typed


class _Write(Struct, frozen=True, array_like=True):
    task: str
    place: int
    channel: str
    value: Typed
    path: str


class _Whole(Struct, frozen=True, array_like=True, tag="w"):
    value: Typed


class _Item(Struct, frozen=True, array_like=True, tag="i"):
    """Of a list; an empty list is `_Empty`."""

    value: Typed


class _Empty(Struct, frozen=True, array_like=True, tag="e"):
    pass


_Record = _Whole | _Item | _Empty


@dataclass(frozen=True, slots=True)
class _Place:
    """One namespace of one thread."""

    root: str
    thread: str
    namespace: str

    @property
    def folder(self) -> str:
        return f"{self.root}/{word(self.thread)}/{word('ns=' + self.namespace)}"

    def checkpoint(self, id: str) -> str:
        return f"{self.folder}/checkpoints/{word(id)}"

    def writes(self, id: str) -> str:
        return f"{self.folder}/writes/{word(id)}"

    def value(self, channel: str, version: str | int | float) -> str:
        return f"{self.folder}/values/{word(channel)}/{word(str(version))}"

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


class OrlopSaver(BaseCheckpointSaver[int]):
    """Needs a kernel: the one that runs this program, else `kernel`."""

    def __init__(
        self,
        kernel: SyncKernel | None = None,
        *,
        folder: str = FOLDER,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self._files = (kernel or connect_sync()).files
        self._root = folder.rstrip("/")
        self._grown: dict[str, list[bytes]] = {}
        """By a value's path: the digests of the items of the list there."""

    # Writing.

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        place = self._place(config)
        values = checkpoint["channel_values"]
        before = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        document = _Document(
            place.thread,
            place.namespace,
            checkpoint["id"],
            get_checkpoint_id(config),
            self.serde.dumps_typed(before),
            self.serde.dumps_typed(get_checkpoint_metadata(config, metadata)),
        )
        files = [
            self._value(place, channel, version, values[channel])
            for channel, version in new_versions.items()
            if channel in values
        ]
        path = place.checkpoint(checkpoint["id"])
        self._files.write_all([*files, FileWrite(path=path, data=msgspec.msgpack.encode(document))])
        return place.config(checkpoint["id"])

    def _value(
        self, place: _Place, channel: str, version: str | int | float, value: object
    ) -> FileWrite:
        """A list that begins with the one that was there is written from there on."""
        path = place.value(channel, version)
        if type(value) is not list:
            return FileWrite(path=path, data=_framed([_Whole(self.serde.dumps_typed(value))]))
        items = [_framed([_Item(self.serde.dumps_typed(item))]) for item in value]
        digests = [sha256(item).digest() for item in items]
        folder = path.rpartition("/")[0]
        known = next((one for one in reversed(self._grown) if one.rpartition("/")[0] == folder), "")
        shared = self._grown.get(known, [])
        self._remember(path, digests)
        if known and known != path and shared and digests[: len(shared)] == shared:
            return FileWrite(path=path, onto=known, data=b"".join(items[len(shared) :]))
        return FileWrite(path=path, data=b"".join(items) or _framed([_Empty()]))

    def _remember(self, path: str, digests: list[bytes]) -> None:
        self._grown.pop(path, None)
        self._grown[path] = digests
        if len(self._grown) > GROWTHS_KNOWN_MAX:
            del self._grown[next(iter(self._grown))]

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, object]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        id = config["configurable"]["checkpoint_id"]
        records = [
            _Write(
                task_id,
                WRITES_IDX_MAP.get(channel, place),
                channel,
                self.serde.dumps_typed(value),
                task_path,
            )
            for place, (channel, value) in enumerate(writes)
        ]
        if records:
            self._files.write(self._place(config).writes(id), _framed(records), append=True)

    # Reading.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = self._place(config)
        if id := get_checkpoint_id(config):
            path = place.checkpoint(id)
        else:
            newest = self._files.page(f"{place.folder}/checkpoints", limit=1, reverse=True)
            if not newest:
                return None
            path = newest[0].path
        return next(iter(self._read([path])), None)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, object] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The newest first, within each namespace."""
        until = get_checkpoint_id(before) if before else None
        found = 0
        for folder in self._folders(config):
            for path in self._checkpoints(folder, config, until):
                if limit is not None and found >= limit:
                    return
                for one in self._read([path], filter):
                    found += 1
                    yield one

    def _folders(self, config: RunnableConfig | None) -> Iterator[str]:
        """Of namespaces with checkpoints that a query reaches."""
        if config is not None and config["configurable"].get("checkpoint_ns") is not None:
            yield self._place(config).folder
            return
        root = self._root
        threads = (
            [f"{root}/{word(config['configurable']['thread_id'])}"]
            if config is not None
            else [row.path for row in self._files.list(root)]
        )
        for thread in threads:
            yield from (row.path for row in self._files.list(thread) if row.kind == "folder")

    def _checkpoints(
        self, folder: str, config: RunnableConfig | None, until: str | None
    ) -> Iterator[str]:
        id = get_checkpoint_id(config) if config is not None else None
        if id is not None:
            yield f"{folder}/checkpoints/{word(id)}"
            return
        at = f"{folder}/checkpoints/{word(until)}" if until is not None else ""
        while True:
            rows = self._files.page(f"{folder}/checkpoints", limit=100, reverse=True, after=at)
            yield from (row.path for row in rows)
            if len(rows) < 100:
                return
            at = rows[-1].path

    def _read(
        self, paths: Sequence[str], filter: Mapping[str, object] | None = None
    ) -> Iterator[CheckpointTuple]:
        """Those of the checkpoints that are there and pass the filter."""
        for path in paths:
            folder, _, id = path.rpartition("/checkpoints/")
            both = [path, f"{folder}/writes/{id}"]
            data, writes = self._files.read_those(both)
            if data is None:
                continue
            document = msgspec.msgpack.decode(data, type=_Document)
            metadata = self.serde.loads_typed(document.metadata)
            if filter and any(metadata.get(key) != value for key, value in filter.items()):
                continue
            yield self._tuple(document, metadata, _writes(writes or b""))

    def _tuple(
        self, document: _Document, metadata: CheckpointMetadata, writes: Sequence[_Write]
    ) -> CheckpointTuple:
        place = _Place(self._root, document.thread, document.namespace)
        checkpoint = self.serde.loads_typed(document.checkpoint)
        versions: ChannelVersions = checkpoint["channel_versions"]
        paths = [place.value(channel, version) for channel, version in versions.items()]
        contents = self._files.read_those(paths) if paths else []
        checkpoint["channel_values"] = {
            channel: self._loaded(path, data)
            for channel, path, data in zip(versions, paths, contents, strict=True)
            if data is not None
        }
        pending = [(one.task, one.channel, self.serde.loads_typed(one.value)) for one in writes]
        parent = document.parent
        return CheckpointTuple(
            config=place.config(document.id),
            checkpoint=checkpoint,
            metadata=metadata,
            parent_config=place.config(parent) if parent else None,
            pending_writes=pending,
        )

    def _loaded(self, path: str, data: bytes) -> object:
        frames = list(_frames(data))
        records = [msgspec.msgpack.decode(frame, type=_Record) for frame in frames]
        if len(records) == 1 and isinstance(records[0], _Whole):
            return self.serde.loads_typed(records[0].value)
        items = [
            (frame, one)
            for frame, one in zip(frames, records, strict=True)
            if isinstance(one, _Item)
        ]
        digests = [sha256(_prefixed(frame)).digest() for frame, _ in items]
        self._remember(path, digests)
        return [self.serde.loads_typed(one.value) for _, one in items]

    # Forgetting and copying.

    def delete_thread(self, thread_id: str) -> None:
        self._delete(f"{self._root}/{word(thread_id)}")

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        for one in list(self.list(None)):
            if one.metadata.get("run_id") in run_ids:
                self._forget(one.config)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """All of it; no value is stored twice."""
        source, target = (f"{self._root}/{word(id)}" for id in (source_thread_id, target_thread_id))
        documents = [
            row.path for row in self._files.list(source, deep=True) if "/checkpoints/" in row.path
        ]
        if not documents:
            return
        self._files.copy(source, target)
        for path, data in zip(documents, self._files.read_many(documents), strict=True):
            document = msgspec.msgpack.decode(data, type=_Document)
            moved = msgspec.structs.replace(document, thread=target_thread_id)
            self._files.write(target + path.removeprefix(source), msgspec.msgpack.encode(moved))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Of channels that are kept as deltas, all that the newest checkpoint is made of stays."""
        for thread in thread_ids:
            if strategy == "delete":
                self.delete_thread(thread)
                continue
            kept: dict[str, set[str]] = {}
            found = list(self.list({"configurable": {"thread_id": thread}}))
            chain = {one.config["configurable"]["checkpoint_id"]: one for one in found}
            for one in found:
                namespace = one.config["configurable"]["checkpoint_ns"]
                if namespace not in kept:
                    kept[namespace] = _needed(one, chain)
                if one.config["configurable"]["checkpoint_id"] not in kept[namespace]:
                    self._forget(one.config)

    def _forget(self, config: RunnableConfig) -> None:
        place, id = self._place(config), get_checkpoint_id(config) or ""
        self._delete(place.checkpoint(id))
        self._delete(place.writes(id))

    def _delete(self, path: str) -> None:
        try:
            self._files.delete(path)
        except NotFound:
            return

    # The same, awaited: each in a thread, since the synchronous client keeps nothing open.

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, object]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, object] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (one := await asyncio.to_thread(next, found, None)) is not None:
            yield one

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(lambda: self.prune(thread_ids, strategy=strategy))

    def _place(self, config: RunnableConfig) -> _Place:
        where = config["configurable"]
        return _Place(self._root, str(where["thread_id"]), where.get("checkpoint_ns") or "")


def _needed(newest: CheckpointTuple, chain: Mapping[str, CheckpointTuple]) -> set[str]:
    """The newest checkpoint, and those before it that its delta channels are made of."""
    kept = {newest.config["configurable"]["checkpoint_id"]}
    open_channels = set(newest.metadata.get("counters_since_delta_snapshot") or ())
    open_channels -= set(newest.checkpoint["channel_values"])
    one = newest
    while open_channels and one.parent_config is not None:
        id = one.parent_config["configurable"]["checkpoint_id"]
        if id not in chain:
            break
        one = chain[id]
        kept.add(id)
        open_channels -= set(one.checkpoint["channel_values"])
    return kept


def _prefixed(frame: bytes) -> bytes:
    return len(frame).to_bytes(4) + frame


def _framed(records: Sequence[Struct]) -> bytes:
    return b"".join(_prefixed(msgspec.msgpack.encode(record)) for record in records)


def _frames(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start : start + 4])
        yield data[start + 4 : start + 4 + size]
        start += 4 + size


def _writes(data: bytes) -> list[_Write]:
    """As they count: of two for one place the first, but of errors and interrupts the last."""
    found: dict[tuple[str, int], _Write] = {}
    for frame in _frames(data):
        one = msgspec.msgpack.decode(frame, type=_Write)
        key = (one.task, one.place)
        if one.place < 0 or key not in found:
            found[key] = one
    return sorted(found.values(), key=lambda one: writes_sort_key(one.path, one.task, one.place))
