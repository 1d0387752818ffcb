"""A journal that changes its place: between SQLite and PostgreSQL, in the same home.

Invariants:
1. The old place is not touched before the new one was verified whole, against the home's anchor.
2. At each moment, also after a crash in between, one place is the one that the settings name, and
   it is whole.
3. The old place is put aside under another name, so that nobody goes on there by mistake.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from orlop.abi.errors import Conflict, JournalDamaged
from orlop.abi.ids import JournalId, Seq
from orlop.store import copying, files, tapes
from orlop.store.audit import Audit
from orlop.store.copying import Progress
from orlop.store.home import Home
from orlop.store.keyring import load_verifier
from orlop.store.tape import Tape
from orlop.store.tapes import JournalConfig

STAGE: Final = "moving"
"""In the home: what the new place is, until it is the place."""


class Moved(Struct, frozen=True, kw_only=True):
    journal: JournalId
    events: int
    tail: int
    """Of those, copied while the kernel was down."""
    kept: str
    """Where the old place is."""
    down_s: float = 0.0


class Move:
    """One move.  `bulk` while a kernel writes, as often as one likes; `finish` when none does."""

    def __init__(self, home: Path, old: JournalConfig, new: JournalConfig) -> None:
        if not new.url and (home / "journal.db").exists() and old.url:
            raise Conflict(
                f"{home / 'journal.db'} is there already, and is not this journal's place"
            )
        if (old.url, old.schema if old.url else "") == (new.url, new.schema if new.url else ""):
            raise Conflict("the journal is there already")
        self._home = home
        self._old, self._new = old, new
        self._stage = home / STAGE

    def bulk(self, progress: Progress) -> int:
        """How many events were copied."""
        source, target = tapes.tape(Home(self._home), self._old), self._target()
        try:
            target.lock()
            return copying.copy(source, target, None, progress).events
        finally:
            source.close()
            target.close()

    def finish(self, point: Callable[[], None], progress: Progress) -> Moved:
        """The tail, the proof; then `point` makes the settings name the new place."""
        home = Home(self._home)
        home.lock()  # Whoever has it is the only one who could write.
        source, target = tapes.tape(home, self._old), self._target()
        try:
            target.lock()
            copied = copying.copy(source, target, None, progress)
            shutil.copyfile(self._home / "journal.anchor", self._stage / "journal.anchor")
            found = Audit(target, load_verifier(home.keys), whole=True, progress=progress).run()
            if found.damage:
                raise JournalDamaged("; ".join(str(one) for one in found.damage[:8]))
        finally:
            target.close()
            source.close()
        self._settle()
        point()
        kept = self._put_aside()
        return Moved(
            journal=copied.meta.journal,
            events=Seq(0) if copied.head is None else copied.head.seq,
            tail=copied.events,
            kept=kept,
        )

    def _target(self) -> Tape:
        files.private_folder(self._stage)
        return tapes.tape(Home(self._stage), self._new)

    def _settle(self) -> None:
        """A SQLite file goes from the stage into the home; nobody reads it there yet."""
        if self._new.url:
            return
        for name in ("blobs", "journal.db"):
            if (self._stage / name).exists():
                (self._stage / name).replace(self._home / name)
        files.sync_folder(self._home)

    def _put_aside(self) -> str:
        shutil.rmtree(self._stage)
        if self._old.url:
            return tapes.put_aside(Home(self._home), self._old)
        return str(_aside(self._home))


def _aside(home: Path) -> Path:
    """SQLite's files in a folder of their own; the anchor stays with the home."""
    number = 1
    while (kept := home / f"moved-{number}").exists():
        number += 1
    files.private_folder(kept)
    for name in ("journal.db", "journal.db-wal", "journal.db-shm", "blobs", "reserve"):
        if (home / name).exists():
            (home / name).replace(kept / name)
    shutil.copyfile(home / "journal.anchor", kept / "journal.anchor")
    files.sync_folder(kept)
    files.sync_folder(home)
    return kept
