"""LangGraph's checkpoints as files of the kernel: `graph.compile(checkpointer=OrlopSaver())`.

Each thread is a folder, with one for each namespace in it; `langgraph_records` says what lies
there.  A step stores what is new in it, is one call and one transaction, and lies in the same
journal as the rest: versioned, as-of any moment, shared by the same rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from orlop.abi.errors import Conflict, NotFound
from orlop.abi.files import FileWrite
from orlop.sdk.langgraph_awaited import AwaitedSaver
from orlop.sdk.langgraph_pending import Pending, PendingWrites
from orlop.sdk.langgraph_reading import Reader
from orlop.sdk.langgraph_records import (
    Document,
    Here,
    Place,
    Stretch,
    Typed,
    Written,
    framed,
    opened,
    word,
)
from orlop.sdk.langgraph_values import Growth, Seen
from orlop.sdk.sync import SyncKernel, connect_sync

FOLDER = "/langgraph"


class OrlopSaver(AwaitedSaver):
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

    @property
    def _reader(self) -> Reader:
        """A graph reads through a copy of its saver with a `serde` of its own."""
        return Reader(self._files, self.serde, self._root)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = self._place(config)
        id = get_checkpoint_id(config)
        paths = [place.checkpoint(id)] if id else self._checkpoints(place.folder, None, None)
        reader = self._reader
        found = next(reader.found(paths), None)
        if found is None:
            return None
        document, written = found
        return reader.whole(document, written, follows=self._seen)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, object] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The newest first, within each namespace."""
        reader = self._reader
        until = get_checkpoint_id(before) if before else None
        found = (
            reader.whole(document, written)
            for folder in self._folders(config)
            for document, written in reader.found(self._checkpoints(folder, config, until), filter)
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
