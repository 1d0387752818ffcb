"""LangGraph's checkpoints as files of the kernel: `graph.compile(checkpointer=OrlopSaver())`.

Each thread is a folder, with one for each namespace in it; `langgraph_records` says what lies
there.  A step stores what is new in it, is one call and one transaction, and lies in the same
journal as the rest: versioned, as-of any moment, shared by the same rules.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice

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
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from orlop.abi.errors import Conflict, NotFound
from orlop.abi.files import FileContent, FileWrite
from orlop.sdk.langgraph_pending import Pending, PendingWrites
from orlop.sdk.langgraph_records import (
    Document,
    Held,
    Here,
    Listed,
    Place,
    Stretch,
    Typed,
    Value,
    Written,
    counting,
    framed,
    frames,
    item,
    opened,
    word,
)
from orlop.sdk.langgraph_values import Growth, Seen
from orlop.sdk.sync import SyncKernel, connect_sync

FOLDER = "/langgraph"


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
        self._seen = Seen(self.serde.dumps_typed)
        self._pending = PendingWrites(self._write_pending)

    # Writing.

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        place, parent = self._place(config), get_checkpoint_id(config)
        told = self.serde.dumps_typed(get_checkpoint_metadata(config, metadata))
        batch = self._pending.take(place.checkpoint(parent)) if parent else None
        writes = batch.writes if batch is not None else ()

        def work() -> None:
            try:
                self._put(place, parent, checkpoint, told, writes)
            except Conflict:  # Somebody else goes on with the same list: ours gets its own file.
                self._put(place, parent, checkpoint, told, writes, apart=True)

        self._pending.tell(batch, work)
        return place.config(checkpoint["id"])

    def _put(
        self,
        place: Place,
        parent: str | None,
        checkpoint: Checkpoint,
        metadata: Typed,
        writes: Sequence[Pending],
        *,
        apart: bool = False,
    ) -> None:
        id, versions = checkpoint["id"], checkpoint["channel_versions"]
        values, growths = self._seen.values(place, parent, checkpoint, apart=apart)
        before = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        told = self.serde.dumps_typed(before)
        document = Document(place.thread, place.namespace, id, parent, told, metadata, values)
        grown = {place.checkpoint(id): framed(document)}
        if writes and parent:
            path = place.checkpoint(parent)
            data = b"".join([framed(_record(one, growths)) for one in writes])
            grown[path] = grown.get(path, b"") + data
        files = [growth.write for growth in growths]
        files += [FileWrite(path=path, data=data, append=True) for path, data in grown.items()]
        made = self._files.write_all(files)
        self._seen.put(place, id, versions, values)
        for growth, version in zip(growths, made, strict=False):
            self._seen.grew(place, growth, version.version)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, object]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        pending = [
            Pending(
                task_id,
                WRITES_IDX_MAP.get(channel, place),
                channel,
                task_path,
                self.serde.dumps_typed(value),
                self._seen.items(value) if type(value) is list else (),
            )
            for place, (channel, value) in enumerate(writes)
        ]
        path = self._place(config).checkpoint(config["configurable"]["checkpoint_id"])
        is_last = any(one.place < 0 for one in pending)  # No checkpoint follows an interrupt.
        if pending:
            self._pending.add(path, pending, soon=is_last)

    def _write_pending(self, path: str, writes: Sequence[Pending]) -> None:
        data = b"".join([framed(_record(one, ())) for one in writes])
        self._files.write(path, data, append=True)

    # Reading.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = self._place(config)
        id = get_checkpoint_id(config)
        paths = [place.checkpoint(id)] if id else self._checkpoints(place.folder, None, None)
        found = next(iter(self._read(paths)), None)
        if found is None:
            return None
        document, written = found
        return self._tuple(document, written, learn=True)

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
        found = (
            self._tuple(document, written)
            for folder in self._folders(config)
            for document, written in self._read(self._checkpoints(folder, config, until), filter)
        )
        yield from islice(found, limit)

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
        """Their files, the newest first; one to begin with, since that is mostly enough."""
        id = get_checkpoint_id(config) if config is not None else None
        if id is not None:
            yield f"{folder}/checkpoints/{word(id)}"
            return
        at = f"{folder}/checkpoints/{word(until)}" if until is not None else ""
        count = 1
        while True:
            rows = self._files.page(f"{folder}/checkpoints", limit=count, reverse=True, after=at)
            yield from (row.path for row in rows)
            if len(rows) < count:
                return
            at, count = rows[-1].path, 100

    def _read(
        self, paths: Iterable[str], filter: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Document, Sequence[Written]]]:
        """Those of the checkpoints that are there and pass the filter."""
        for path in paths:
            (data,) = self._files.read_those([path])
            document, written = opened(data or b"")
            if document is None:
                continue
            metadata = self.serde.loads_typed(document.metadata) if filter else {}
            if filter and any(metadata.get(key) != value for key, value in filter.items()):
                continue
            yield document, counting(written)

    def _tuple(
        self, document: Document, written: Sequence[Written], *, learn: bool = False
    ) -> CheckpointTuple:
        """learn: the next checkpoint will follow this one."""
        place = Place(self._root, document.thread, document.namespace)
        checkpoint = self.serde.loads_typed(document.checkpoint)
        lists = self._lists(place, document, written)
        if learn:
            versions = checkpoint["channel_versions"]
            self._seen.put(place, document.id, versions, document.values)
            for channel, value in document.values.items():
                if isinstance(value, Listed) and value.file:
                    self._seen.read(place, channel, value, lists[value.file])
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
        found = self._files.contents([place.values(file) for file in wanted]) if wanted else ()
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
        contents = self._files.read_those(paths) if paths else ()
        for id, path, data in zip(ids, paths, contents, strict=True):
            earlier, _ = opened(self._deleted(path) if data is None else data)
            if earlier is None:
                raise NotFound(f"checkpoint {id}, which {document.id} needs")
            found[id] = earlier
        return found

    def _deleted(self, path: str) -> bytes:
        there = [row.version for row in self._files.versions(path) if row.kind == "file"]
        return self._files.read(path, version=there[-1]) if there else b""

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
            document, written = opened(data)
            if document is not None:
                moved = msgspec.structs.replace(document, thread=target_thread_id)
                content = b"".join([framed(moved), *map(framed, written)])
                self._files.write(target + path.removeprefix(source), content)

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
        self._delete(self._place(config).checkpoint(get_checkpoint_id(config) or ""))

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

    def _place(self, config: RunnableConfig) -> Place:
        where = config["configurable"]
        return Place(self._root, str(where["thread_id"]), where.get("checkpoint_ns") or "")


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


def _record(one: Pending, growths: Sequence[Growth]) -> Written:
    """As it is kept: by reference, where the checkpoint's list holds the same items."""
    value: Here | Stretch = Here(one.value)
    for growth in growths:
        if growth.channel == one.channel:
            value = growth.stretch(one.items) or value
    return Written(one.task, one.place, one.channel, one.path, value)
