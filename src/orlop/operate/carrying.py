"""Backups, restores and drills as a whole: files, keys, and a journal that opens."""

import tempfile
from pathlib import Path

from msgspec import Struct

import orlop
from orlop.abi.errors import Conflict
from orlop.abi.ids import Seq
from orlop.abi.kernels import JournalRestored
from orlop.kernel import recovery
from orlop.machine import plain_clock
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock
from orlop.machine.offload import ThreadOffload
from orlop.operate.running import LOCK, holder
from orlop.sdk.place import INFO_FILE
from orlop.settings import read_settings
from orlop.state.tables import Tables
from orlop.store import anchor, backup, files, tapes
from orlop.store.backup import Restored
from orlop.store.copying import Progress
from orlop.store.home import Home
from orlop.store.journal import Journal
from orlop.store.tapes import ON_SQLITE, JournalConfig

HOST = "restore"
"""Of the life that a journal has while it is restored."""


class Drill(Struct, frozen=True, kw_only=True):
    """What a disaster right after the backup would cost; measured, not promised."""

    events: int
    backup_s: float
    rpo_events: int
    """Acknowledged while the backup was made, and so not in it."""
    rto_s: float
    """Copy back, verify every event, open, read the tables."""
    processes: int
    """That the restored tables hold."""
    bytes: int
    """Of the backup on disk."""


async def restored(
    saved: Path,
    home: Path,
    keys: Path | None,
    against: Path | None,
    progress: Progress,
    config: JournalConfig | None = None,
) -> Restored:
    """A home that `orlop up` starts from.  Raises `Conflict`, `JournalDamaged`, `NotFound`.

    config: where the journal goes, whatever the backup's settings say.
    """
    if holder(home) is not None:
        raise Conflict(f"{home} is up: restore into another home")
    made = backup.restore(saved, home, keys=keys, against=against, progress=progress)
    where = config or read_settings(None, home, ()).journal
    backup.fill(saved, keys or saved / "keys", home, where, progress)
    told = JournalRestored(seq=made.manifest.seq, made_ns=made.manifest.made_ns, lost=made.lost)
    await lived(home, where, told)
    return made


async def lived(home: Path, config: JournalConfig, told: JournalRestored) -> Tables:
    """One life of the journal, without a kernel: it is told where it comes from, and read."""
    place, chance = Home(home), SystemChance()
    writing, reading = ThreadOffload("journal"), ThreadOffload("journal-reading")
    keyring = place.keyring(chance, has_journal=True)
    tape = tapes.tape(place, config)
    journal = Journal(tape, keyring, SystemClock(), chance, writing, reading)
    try:
        await journal.open(orlop.__version__, HOST, 0)
        journal.note_restored(told)
        await journal.flush()
        tables, _ = await recovery.read_tables(journal)
        return tables
    finally:
        await journal.close()
        writing.close()
        reading.close()


async def drilled(home: Path, config: JournalConfig, progress: Progress) -> Drill:
    """Back up, restore elsewhere, verify, and say how long it took.  The installation goes on."""
    with tempfile.TemporaryDirectory(prefix="orlop-drill-") as folder:
        saved, there = Path(folder) / "backup", Path(folder) / "home"
        began_s = plain_clock.now_s()
        manifest = backup.back_up(home, config, saved, SystemClock().wall_ns(), progress)
        backed_up_s = plain_clock.now_s()
        newest = acknowledged(home)
        files.private_folder(there)
        made = backup.restore(saved, there, progress=progress)
        backup.fill(saved, saved / "keys", there, ON_SQLITE, progress)
        told = JournalRestored(seq=made.manifest.seq, made_ns=made.manifest.made_ns)
        tables = await lived(there, ON_SQLITE, told)
        return Drill(
            events=manifest.seq,
            backup_s=backed_up_s - began_s,
            rpo_events=max(0, newest - manifest.seq),
            rto_s=plain_clock.now_s() - backed_up_s,
            processes=len(tables.rows),
            bytes=sum(path.stat().st_size for path in saved.rglob("*") if path.is_file()),
        )


def acknowledged(home: Path) -> Seq:
    """The newest acknowledged event, by the head anchor."""
    slots = Home(home).anchor()
    seen = None if slots is None else anchor.newest(slots)[0]
    return Seq(0) if seen is None else seen.seq


def require_no_home(folder: Path) -> None:
    """Raises `Conflict` for a folder whose keys a backup would overwrite: a kernel's own home."""
    if any((folder / name).exists() for name in (LOCK, INFO_FILE, "journal.db")):
        raise Conflict(f"{folder} is a kernel's home: name another folder for the backup")
