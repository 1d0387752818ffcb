"""The kernel's half of files that lives: the tree's projection, and what it does not know yet.

Invariant: `head` knows every version that was emitted, durable or not, so that a comparison with
it, followed by an event without a wait between them, can't lose anybody's change.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from orlop.abi.files import FileChange
from orlop.abi.ids import Seq, TenantId
from orlop.files import paths
from orlop.files.index import FAILURES, Index
from orlop.files.tree import FileFold, FileTree, seen_by
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload, ThreadOffload
from orlop.machine.ranges import Many
from orlop.store.journal import Journal
from orlop.store.projection import Projection, ProjectionFile, Shared, Source

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConfig:
    """The `[files]` table of orlop.toml."""

    bytes_max: Many = 4 * 1024**3
    """The largest file; a larger one is refused before it is stored."""
    index: bool = True
    """Whether text files can be searched by their words."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of a file."""

    path: str
    version: int
    size: int
    deleted: bool
    seq: Seq

    @property
    def known(self) -> int:
        """The version that whoever looks for the file finds; 0: none, it is deleted."""
        return 0 if self.deleted else self.version


@dataclass(eq=False, slots=True, kw_only=True)
class FileStore:
    """`disk`: where folders of the host are read and written."""

    projection: Projection
    disk: Offload
    config: FileConfig = field(default_factory=FileConfig)
    commons: Shared | None = None
    """What it shares with other kernels; None: it is alone."""
    index: Index | None = None
    """What is in text files; None where nobody searches them."""
    indexing: Offload | None = None
    """Where the index is read and written."""
    reserved: set[Seq] = field(default_factory=set)
    """Messages in pipes that somebody is taking right now."""
    _recent: dict[tuple[TenantId, str], Head] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    # Reading.

    async def current(self) -> None:
        """All that is durable is in the tree."""
        await self.projection.current()

    async def alone(self) -> None:
        """Until the next wait nobody else writes what kernels have in common."""
        if self.commons is not None:
            await self.commons.pen(self.projection)

    async def ready(self) -> None:
        """Likewise, and the tree can be looked at; what is newer, `head` knows."""
        if not self.projection.is_ready:
            await self.projection.current()
        await self.alone()

    async def read(
        self, work: Callable[Concatenate[FileTree, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """What `work` finds in the tree, beside the event loop."""
        return await self.projection.read(seen_by(work, *args, **kwargs))

    async def beside(
        self, work: Callable[Concatenate[FileTree, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Likewise, without waiting for what is not folded yet."""
        return await self.projection.beside(seen_by(work, *args, **kwargs))

    def look(
        self, work: Callable[Concatenate[FileTree, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Likewise, at once; what is not folded yet is missing."""
        return self.projection.look(seen_by(work, *args, **kwargs))

    def head(self, tenant: TenantId, path: str) -> Head | None:
        """The newest version of all, also if it is a deletion."""
        recent = self._recent.get((tenant, path))
        if recent is not None and recent.seq > self.projection.applied_seq:
            return recent
        row = self.look(FileTree.head, tenant, path)
        return None if row is None else Head(path, row.version, row.size, row.deleted, row.seq)

    def heads(self, tenant: TenantId, folder: str, limit: int) -> dict[str, Head]:
        """Likewise of all files at and below `folder` that are there; more than `limit` may be
        left out."""
        rows = self.look(FileTree.below, tenant, folder, limit=limit)
        found = {row.path: Head(row.path, row.version, row.size, False, row.seq) for row in rows}
        if (own := self.head(tenant, folder)) is not None:
            found[folder] = own
        for (whose, path), recent in self._recent.items():
            is_new = recent.seq > self.projection.applied_seq
            if whose == tenant and is_new and paths.is_below(path, folder):
                found[path] = recent
        return {path: head for path, head in found.items() if not head.deleted}

    @property
    def durable_seq(self) -> Seq:
        """The newest moment that is safe."""
        return self.projection.source.durable_seq

    @property
    def head_seq(self) -> Seq:
        """The newest moment."""
        return self.projection.source.head_seq

    # Changing.

    def note(
        self, tenant: TenantId, changes: Sequence[FileChange], sizes: Sequence[int], seq: Seq
    ) -> None:
        """These were emitted as event `seq`."""
        applied = self.projection.applied_seq
        for key in [key for key, head in self._recent.items() if head.seq <= applied]:
            del self._recent[key]
        for change, size in zip(changes, sizes, strict=True):
            head = Head(change.path, change.version, size, change.deleted, seq)
            self._recent[tenant, change.path] = head
        self.wake()

    def wake(self) -> None:
        """Something has changed: whoever waits looks again."""
        self._moved.set()
        self._moved = asyncio.Event()

    @property
    def news(self) -> asyncio.Event:
        """Set at the next change.  To be taken before one looks whether to wait."""
        return self._moved


def build(
    journal: Journal,
    clock: Clock,
    folder: Path,
    config: FileConfig,
    commons: Shared | None = None,
) -> FileStore:
    """The store whose projections lie in `folder`."""
    source = journal if commons is None else commons
    projection = Projection(
        FileFold(),
        ProjectionFile(FileFold(), folder / "files.db"),
        source,
        clock,
        writing=ThreadOffload("files-writing"),
        reading=ThreadOffload("files-reading"),
    )
    return FileStore(
        projection=projection,
        disk=ThreadOffload("files-disk"),
        config=config,
        commons=commons,
        index=_index(folder / "passages.db", source) if config.index else None,
        indexing=ThreadOffload("files-index"),
    )


def _index(path: Path, source: Source) -> Index | None:
    """None where the disk does not let us: files are there all the same."""
    try:
        return Index(path, source.id)
    except FAILURES as error:
        log.warning("files can't be searched: %s: %s", path, error)
        return None
