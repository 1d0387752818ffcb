"""The tree: every version of every file, as a projection of the journal into SQLite.

Invariants: 1. versions of a path count from 1, without a gap; 2. what a version holds never
changes; 3. the same journal makes the same rows.  `check` asserts the first two.

Versions that were appended to one another share their pieces: a version is the first so many
pieces of its content.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Concatenate, Final, ParamSpec, TypeVar

import msgspec

from orlop.abi import labels
from orlop.abi.errors import JournalDamaged, NotFound
from orlop.abi.events import Header
from orlop.abi.files import FileChange, FilesChanged, Piece, PiecesStored
from orlop.abi.ids import Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.kernels import TenantForgotten
from orlop.files import paths
from orlop.store.rows import Stored

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

CHANGE_BITS: Final = 14
"""A content is called `seq << 14 | place of its change in the event`."""

SCHEMA: Final = """
CREATE TABLE file_version (
  tenant TEXT NOT NULL, path TEXT NOT NULL, version INTEGER NOT NULL,
  seq INTEGER NOT NULL, at_ns INTEGER NOT NULL, process TEXT NOT NULL,
  size INTEGER NOT NULL, digest TEXT NOT NULL,
  content INTEGER NOT NULL, pieces INTEGER NOT NULL, deleted INTEGER NOT NULL,
  labels TEXT NOT NULL,
  PRIMARY KEY (tenant, path, version)
) WITHOUT ROWID;
CREATE TABLE file_head (
  tenant TEXT NOT NULL, path TEXT NOT NULL, version INTEGER NOT NULL,
  seq INTEGER NOT NULL, at_ns INTEGER NOT NULL, process TEXT NOT NULL,
  size INTEGER NOT NULL, digest TEXT NOT NULL,
  content INTEGER NOT NULL, pieces INTEGER NOT NULL, deleted INTEGER NOT NULL,
  labels TEXT NOT NULL,
  PRIMARY KEY (tenant, path)
) WITHOUT ROWID;
CREATE INDEX file_head_seq ON file_head (seq);
CREATE TABLE file_piece (
  content INTEGER NOT NULL, place INTEGER NOT NULL, start INTEGER NOT NULL,
  name TEXT NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (content, place)
) WITHOUT ROWID;
CREATE TABLE file_stored (
  tenant TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
CREATE TABLE file_outside (
  tenant TEXT NOT NULL, path TEXT NOT NULL, labels TEXT NOT NULL,
  PRIMARY KEY (tenant, path)
) WITHOUT ROWID;
"""

_COLUMNS: Final = (
    "path, version, seq, at_ns, process, size, digest, content, pieces, deleted, labels"
)
_Folded = FilesChanged | PiecesStored | TenantForgotten
_EVENTS: Final[msgspec.json.Decoder[_Folded]] = msgspec.json.Decoder(_Folded)


@dataclass(frozen=True, slots=True)
class Version:
    """A row: one version of one file."""

    path: str
    version: int
    seq: Seq
    at_ns: Nanoseconds
    process: ProcessId
    size: int
    digest: str
    content: int
    pieces: int
    deleted: bool
    labels: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[object, ...]:
        return (
            self.path,
            self.version,
            self.seq,
            self.at_ns,
            self.process,
            self.size,
            self.digest,
            self.content,
            self.pieces,
            int(self.deleted),
            labels.to_column(self.labels),
        )


def _version(row: tuple[str, int, int, int, str, int, str, int, int, int, str]) -> Version:
    path, version, seq, at_ns, process, size, digest, content, pieces, deleted, named = row
    return Version(
        path,
        version,
        Seq(seq),
        Nanoseconds(at_ns),
        ProcessId(process),
        size,
        digest,
        content,
        pieces,
        bool(deleted),
        labels.from_column(named),
    )


class FileFold:
    """For `store.projection`."""

    name: Final = "files"
    schema: Final = SCHEMA
    format: Final = 1
    kinds: Final = frozenset({"file.changed", "file.stored", "tenant.forgotten"})

    def fold(self, connection: sqlite3.Connection, events: Sequence[Stored]) -> None:
        tree = FileTree(connection)
        for stored in events:
            if stored.body is None:
                log.warning("event %d was pruned: its files are gone", stored.header.seq)
                continue
            try:
                event = _EVENTS.decode(stored.body)
            except msgspec.DecodeError as error:
                raise JournalDamaged(f"event {stored.header.seq} can't be read: {error}") from error
            try:
                tree.fold(stored.header, event)
            except NotFound as error:  # What it was made of was pruned.
                log.warning("event %d: %s", stored.header.seq, error.message)


class FileTree:
    """All tenants' files, as one connection sees them."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    # The fold.

    def fold(self, header: Header, event: FilesChanged | PiecesStored | TenantForgotten) -> None:
        """Fold one event in."""
        if isinstance(event, TenantForgotten):
            self._forget(event.tenant)
            return
        if isinstance(event, PiecesStored):
            rows = [(header.tenant, piece.name, piece.size) for piece in event.pieces]
            self._database.executemany("REPLACE INTO file_stored VALUES (?, ?, ?)", rows)
            if event.path:
                # Whatever is written there later, what was there before may still be in it.
                known = labels.together(event.labels, self.outside(header.tenant, event.path))
                self._database.execute(
                    "REPLACE INTO file_outside VALUES (?, ?, ?)",
                    (header.tenant, event.path, labels.to_column(known)),
                )
            return
        for place, change in enumerate(event.changes):
            self._change(header, change, header.moment << CHANGE_BITS | place)

    def _forget(self, tenant: TenantId) -> None:
        execute = self._database.execute
        execute(
            "DELETE FROM file_piece WHERE content IN"
            " (SELECT content FROM file_version WHERE tenant = ?)",
            (tenant,),
        )
        for table in ("file_version", "file_head", "file_stored", "file_outside"):
            execute(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))

    def _change(self, header: Header, change: FileChange, content: int) -> None:
        size, digest, pieces, named = 0, "", 0, change.labels
        if change.base is not None:
            origin = self.version(header.tenant, change.source or change.path, change.base)
            size, digest, pieces = origin.size, origin.digest, origin.pieces
            named = labels.together(named, origin.labels)
            content = self._grown(origin, content) if change.pieces else origin.content
        rows = []
        for piece in change.pieces:
            rows.append((content, pieces, size, piece.name, piece.size))
            size, pieces, digest = size + piece.size, pieces + 1, chained(digest, piece.name)
        self._database.executemany("INSERT INTO file_piece VALUES (?, ?, ?, ?, ?)", rows)
        made = Version(
            change.path,
            change.version,
            header.moment,
            header.wall_ns,
            header.process,
            size,
            digest,
            content,
            pieces,
            change.deleted,
            named,
        )
        marks = ", ".join("?" * 12)
        for table in ("file_version", "file_head"):
            self._database.execute(
                f"REPLACE INTO {table} VALUES ({marks})", (header.tenant, *made.values)
            )

    def _grown(self, origin: Version, content: int) -> int:
        """The content that a version which begins with all of `origin` grows in: its own, unless
        another version has grown there already."""
        (there,) = self._database.execute(
            "SELECT count(*) FROM file_piece WHERE content = ?", (origin.content,)
        ).fetchone()
        if there == origin.pieces and origin.pieces:
            return origin.content
        self._database.execute(
            "INSERT INTO file_piece SELECT ?, place, start, name, size FROM file_piece"
            " WHERE content = ? AND place < ?",
            (content, origin.content, origin.pieces),
        )
        return content

    # Versions.

    def head(self, tenant: TenantId, path: str) -> Version | None:
        """The newest version, also of a file that is deleted."""
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM file_head WHERE tenant = ? AND path = ?", (tenant, path)
        ).fetchone()
        return None if row is None else _version(row)

    def version(self, tenant: TenantId, path: str, version: int) -> Version:
        """Raises `NotFound`."""
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM file_version WHERE tenant = ? AND path = ? AND version = ?",
            (tenant, path, version),
        ).fetchone()
        if row is None:
            raise NotFound(f"{path} has no version {version}; `orlop files versions` lists them")
        return _version(row)

    def as_of(self, tenant: TenantId, path: str, at: Seq) -> Version | None:
        """What the newest version was then."""
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM file_version WHERE tenant = ? AND path = ? AND seq <= ?"
            " ORDER BY version DESC LIMIT 1",
            (tenant, path, at),
        ).fetchone()
        return None if row is None else _version(row)

    def versions(self, tenant: TenantId, path: str, after: int, limit: int) -> list[Version]:
        """Oldest first."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM file_version WHERE tenant = ? AND path = ? AND version > ?"
            " ORDER BY version LIMIT ?",
            (tenant, path, after, limit),
        )
        return [_version(row) for row in rows]

    def below(
        self,
        tenant: TenantId,
        folder: str,
        *,
        after: str = "",
        limit: int = -1,
        at: Seq | None = None,
        since: Seq | None = None,
        reverse: bool = False,
    ) -> list[Version]:
        """The newest versions of all files below a folder, by path.  Deleted ones come with
        `since` only."""
        low, high = paths.inside(folder), paths.beyond(folder)
        if reverse:
            high, order = min(high, after or high), "path DESC"
        else:
            low, order = max(low, after), "path"
        wanted = "deleted = 0" if since is None else f"seq > {int(since)}"
        if at is None:
            query = (
                f"SELECT {_COLUMNS} FROM file_head"
                f" WHERE tenant = ? AND path > ? AND path < ? AND {wanted} ORDER BY {order} LIMIT ?"
            )
            rows = self._database.execute(query, (tenant, low, high, limit))
        else:  # SQLite takes the other columns from the row that has the maximum.
            query = (
                f"SELECT {_COLUMNS.replace('version', 'max(version) AS version')}"
                " FROM file_version WHERE tenant = ? AND path > ? AND path < ? AND seq <= ?"
                f" GROUP BY path HAVING {wanted} ORDER BY {order} LIMIT ?"
            )
            rows = self._database.execute(query, (tenant, low, high, at, limit))
        return [_version(row) for row in rows]

    def changed_since(self, tenant: TenantId, folder: str, since: Seq) -> bool:
        """Whether anything at or below `folder` has changed after `since`."""
        row = self._database.execute(
            "SELECT 1 FROM file_head WHERE tenant = ? AND seq > ?"
            " AND (path = ? OR path > ? AND path < ?) LIMIT 1",
            (tenant, since, folder, paths.inside(folder), paths.beyond(folder)),
        ).fetchone()
        return row is not None

    def changes(self, since: Seq, limit: int) -> list[tuple[TenantId, Version]]:
        """What has changed after an event, of all tenants, the longest ago first; never a part
        of what one event did."""
        rows = self._database.execute(
            f"SELECT tenant, {_COLUMNS} FROM file_head WHERE seq > ? AND seq <= coalesce("
            "(SELECT seq FROM file_head WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?),"
            " 9223372036854775807) ORDER BY seq, tenant, path",
            (since, since, limit - 1),
        )
        return [(TenantId(tenant), _version(tuple(row))) for tenant, *row in rows]

    # Content.

    def pieces(self, version: Version, offset: int, length: int) -> tuple[list[Piece], int]:
        """The pieces that hold a stretch, and how many bytes of them come before it."""
        rows = self._database.execute(
            "SELECT name, size, start FROM file_piece WHERE content = ? AND place < ?"
            " AND start + size > ? AND start < ? ORDER BY place",
            (version.content, version.pieces, offset, offset + length),
        ).fetchall()
        skip = offset - rows[0][2] if rows else 0
        return [Piece(name, size) for name, size, _ in rows], skip

    def stored(self, tenant: TenantId, name: str) -> int | None:
        """The size of a piece that was stored by itself."""
        row = self._database.execute(
            "SELECT size FROM file_stored WHERE tenant = ? AND name = ?", (tenant, name)
        ).fetchone()
        return None if row is None else int(row[0])

    def outside(self, tenant: TenantId, path: str) -> tuple[str, ...]:
        """Labels that were ever written to a path in a mounted folder."""
        row = self._database.execute(
            "SELECT labels FROM file_outside WHERE tenant = ? AND path = ?", (tenant, path)
        ).fetchone()
        return labels.NO_LABELS if row is None else labels.from_column(row[0])

    # Invariants.

    def check(self) -> None:
        """Raises `AssertionError`."""
        gaps = self._database.execute(
            "SELECT path FROM file_version GROUP BY tenant, path"
            " HAVING min(version) <> 1 OR max(version) <> count(*)"
        ).fetchall()
        if gaps:
            raise AssertionError(f"versions have gaps: {gaps[:3]}")
        wrong = self._database.execute(
            "SELECT path, version FROM file_version AS v WHERE size <> (SELECT"
            " coalesce(sum(size), 0) FROM file_piece AS p WHERE p.content = v.content"
            " AND p.place < v.pieces)"
        ).fetchall()
        if wrong:
            raise AssertionError(f"versions do not add up: {wrong[:3]}")


def chained(digest: str, name: str) -> str:
    """The digest of content that one more piece follows."""
    return sha256((digest + name).encode()).hexdigest()[:32] if digest else name


def seen_by(
    work: Callable[Concatenate[FileTree, P], R], /, *args: P.args, **kwargs: P.kwargs
) -> Callable[[sqlite3.Connection], R]:
    """`work` on the tree, as a projection takes it."""
    return lambda database: work(FileTree(database), *args, **kwargs)
