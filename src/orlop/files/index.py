"""What is in text files, by words and by vectors: a projection of a projection, in its own SQLite
file, made anew from the tree whenever it is missing.

Invariant: passages of a path are those of the version in `file_indexed`, and of no other.

All methods block.
"""

import re
import sqlite3
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from orlop.abi.ids import Seq, TenantId
from orlop.files import paths

FAILURES: Final = (sqlite3.Error, OSError)
"""What a disk that is full, or a file that is damaged, ends in."""

FORMAT: Final = 1
Vector: TypeAlias = "array[float]"
_WORDS_MAX: Final = 32
_SCHEMA: Final = """
CREATE TABLE mark (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE file_indexed (
  tenant TEXT NOT NULL, path TEXT NOT NULL, version INTEGER NOT NULL,
  content INTEGER NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (tenant, path)
) WITHOUT ROWID;
CREATE TABLE passage (
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, path TEXT NOT NULL, place INTEGER NOT NULL,
  text TEXT NOT NULL
);
CREATE INDEX passage_path ON passage (tenant, path);
CREATE VIRTUAL TABLE words USING fts5 (
  text, content = 'passage', content_rowid = 'id', tokenize = "unicode61 remove_diacritics 2"
);
CREATE TABLE vector (
  id INTEGER NOT NULL, model TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (id, model)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Passage:
    id: int
    path: str
    place: int
    text: str
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Indexed:
    """The version of a file whose passages are there."""

    version: int
    content: int
    size: int


@dataclass(frozen=True, slots=True)
class News:
    """A file's passages from `beyond` on are these.  indexed: None: the file is gone."""

    tenant: TenantId
    path: str
    indexed: Indexed | None
    passages: Sequence[tuple[int, str]] = ()
    beyond: int = 0


class Index:
    """path: None: in RAM.  identity: of the journal; an index of another one is thrown away."""

    def __init__(self, path: Path | None, identity: str) -> None:
        self._path = path
        self._identity = f"{FORMAT} {identity}"
        self._database = self._open()

    @property
    def mark(self) -> Seq:
        """All changes up to this event are in it."""
        (value,) = self._database.execute("SELECT value FROM mark WHERE name = 'seq'").fetchone()
        return Seq(int(value))

    def indexed(self, tenant: TenantId, path: str) -> Indexed | None:
        row = self._database.execute(
            "SELECT version, content, size FROM file_indexed WHERE tenant = ? AND path = ?",
            (tenant, path),
        ).fetchone()
        return None if row is None else Indexed(*row)

    def reached(self, wanted: Sequence[tuple[TenantId, str]]) -> list[tuple[Indexed | None, int]]:
        """Of each path what is indexed, and where its last passage begins: what is added to the
        file may belong to that."""
        found: list[tuple[Indexed | None, int]] = []
        for where in wanted:
            indexed = self.indexed(*where)
            (place,) = self._database.execute(
                "SELECT max(place) FROM passage WHERE tenant = ? AND path = ?", where
            ).fetchone()
            end = indexed.size if indexed is not None else 0
            found.append((indexed, end if place is None else int(place)))
        return found

    def put(self, news: Sequence[News]) -> None:
        with self._database:
            for one in news:
                self._put(one)

    def _put(self, new: News) -> None:
        where = (new.tenant, new.path)
        old = self._database.execute(
            "SELECT id, text FROM passage WHERE tenant = ? AND path = ? AND place >= ?",
            (*where, new.beyond),
        ).fetchall()
        for id, text in old:
            self._database.execute(
                "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (id, text)
            )
            self._database.execute("DELETE FROM passage WHERE id = ?", (id,))
            self._database.execute("DELETE FROM vector WHERE id = ?", (id,))
        for place, text in new.passages:
            cursor = self._database.execute(
                "INSERT INTO passage (tenant, path, place, text) VALUES (?, ?, ?, ?)",
                (*where, place, text),
            )
            self._database.execute(
                "INSERT INTO words (rowid, text) VALUES (?, ?)", (cursor.lastrowid, text)
            )
        if (now := new.indexed) is None:
            self._database.execute("DELETE FROM file_indexed WHERE tenant = ? AND path = ?", where)
        else:
            self._database.execute(
                "INSERT OR REPLACE INTO file_indexed VALUES (?, ?, ?, ?, ?)",
                (*where, now.version, now.content, now.size),
            )

    def forget(self, tenant: TenantId) -> None:
        rows = self._database.execute(
            "SELECT path FROM file_indexed WHERE tenant = ?"
            " UNION SELECT path FROM passage WHERE tenant = ?",
            (tenant, tenant),
        ).fetchall()
        self.put([News(tenant, path, None) for (path,) in rows])
        with self._database:
            self._database.execute("INSERT INTO words (words) VALUES ('optimize')")
        # What was deleted stays in the file, and in its log, until both are written anew.
        self._database.execute("VACUUM")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def note(self, seq: Seq) -> None:
        with self._database:
            self._database.execute("UPDATE mark SET value = ? WHERE name = 'seq'", (str(seq),))

    # Finding.

    def by_words(self, tenant: TenantId, folder: str, text: str, limit: int) -> list[Passage]:
        """Those with any of the words, the nearest first (BM25)."""
        words = re.findall(r"\w+", text)[:_WORDS_MAX]
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in words)
        rows = self._database.execute(
            "SELECT passage.id, path, place, passage.text, -bm25(words) FROM words"
            " JOIN passage ON passage.id = words.rowid WHERE words MATCH ? AND tenant = ?"
            " AND (path = ? OR path > ? AND path < ?) ORDER BY bm25(words) LIMIT ?",
            (query, tenant, folder, paths.inside(folder), paths.beyond(folder), limit),
        )
        return [Passage(*row) for row in rows]

    def below(self, tenant: TenantId, folder: str, limit: int) -> list[Passage]:
        rows = self._database.execute(
            "SELECT id, path, place, text FROM passage WHERE tenant = ?"
            " AND (path = ? OR path > ? AND path < ?) ORDER BY id LIMIT ?",
            (tenant, folder, paths.inside(folder), paths.beyond(folder), limit),
        )
        return [Passage(*row) for row in rows]

    def vectors(self, ids: Sequence[int], model: str) -> dict[int, Vector]:
        """Those that are known."""
        found: dict[int, Vector] = {}
        for id in ids:
            row = self._database.execute(
                "SELECT data FROM vector WHERE id = ? AND model = ?", (id, model)
            ).fetchone()
            if row is not None:
                found[id] = array("f", row[0])
        return found

    def keep(self, vectors: dict[int, Vector], model: str) -> None:
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO vector SELECT ?, ?, ? WHERE EXISTS"
                " (SELECT 1 FROM passage WHERE id = ?)",
                [(id, model, data.tobytes(), id) for id, data in vectors.items()],
            )

    def close(self) -> None:
        self._database.close()

    def _open(self) -> sqlite3.Connection:
        """A file that is damaged, or another journal's, is begun anew."""
        try:
            database = self._connect()
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if "mark" in tables:
                found = dict(database.execute("SELECT name, value FROM mark"))
                if found.get("identity") == self._identity:
                    return database
            elif not tables:
                return self._created(database)
            database.close()
        except sqlite3.DatabaseError:
            pass
        if self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return self._created(self._connect())

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = sqlite3.connect(self._path or ":memory:", check_same_thread=False)
        if self._path is not None:
            self._path.chmod(0o600)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
        return database

    def _created(self, database: sqlite3.Connection) -> sqlite3.Connection:
        database.executescript(_SCHEMA)
        with database:
            rows = [("identity", self._identity), ("seq", "0")]
            database.executemany("INSERT INTO mark VALUES (?, ?)", rows)
        return database


def nearness(one: Vector, other: Vector) -> float:
    """The cosine; 0 where one is nothing."""
    if len(one) != len(other):
        return 0.0
    product = sum(a * b for a, b in zip(one, other, strict=True))
    size = (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5
    return product / size if size else 0.0
