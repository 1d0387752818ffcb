"""A copy of an installation that can be carried elsewhere, and brought back.

DIR/data/     the journal, as a SQLite home without keys; orlop.toml
DIR/keys/     everything without which the data can't be read: keep it elsewhere
DIR/manifest.json   what was copied, when, up to which event

Invariants:
1. What is in a backup was acknowledged or would have been kept by a start after a crash; a running
   kernel is neither stopped nor waited for.
2. A backup vouches for itself by an anchor of its own, and is verified whole before it is restored.
3. A restored journal goes on in an epoch that no earlier life can have had.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.errors import Conflict, JournalDamaged, JournalStopped, NotFound
from orlop.abi.ids import JournalId, Nanoseconds, Seq
from orlop.store import anchor, copying, files, tapes
from orlop.store.audit import Audit
from orlop.store.chain import header_of
from orlop.store.copying import Copied, Progress
from orlop.store.home import Home
from orlop.store.keyring import load_verifier
from orlop.store.sqlite import SqliteTape
from orlop.store.tape import Tape
from orlop.store.tapes import ON_SQLITE, JournalConfig

MANIFEST: Final = "manifest.json"
EPOCHS_SKIPPED: Final = 1_000
"""Lives that the journal may have had after the backup: none of them gave out the next epoch."""


class Manifest(Struct, frozen=True, kw_only=True):
    journal: JournalId
    seq: Seq
    """Of the newest event that is in it."""
    hash: str
    epoch: int
    made_ns: Nanoseconds
    events_new: int
    """Since the backup before, where there was one in the same folder."""


class Restored(Struct, frozen=True, kw_only=True):
    manifest: Manifest
    lost: int | None
    """Acknowledged events that are not in the backup; None: no anchor was there to ask."""


def back_up(
    home: Path, config: JournalConfig, into: Path, now_ns: Nanoseconds, progress: Progress
) -> Manifest:
    """Copy what is new since the last time into `into`; all of it where that is empty.

    Raises `JournalDamaged`, `Conflict`, `NotFound`, `JournalStopped`.
    """
    with _written(into):
        return _back_up(home, config, into, now_ns, progress)


def _back_up(
    home: Path, config: JournalConfig, into: Path, now_ns: Nanoseconds, progress: Progress
) -> Manifest:
    Home(home).require()
    data = into / "data"
    for folder in (into, data, into / "keys"):
        files.private_folder(folder)
    # Keys first: whatever is in the journal was sealed with keys that existed before it.
    _copy_keys(home / "keys", into / "keys")
    source = tapes.tape(Home(home), config)
    target = SqliteTape(Home(data))
    try:
        target.lock()
        copied = copying.copy(source, target, None, progress)
        epoch = max((boot.epoch for boot in target.boots()), default=0)
        copying.anchored(target, copied, epoch)
    finally:
        source.close()
        target.close()
    if (home / "orlop.toml").exists():
        files.replace(data / "orlop.toml", (home / "orlop.toml").read_bytes())
    _copy_keys(home / "keys", into / "keys")
    made = Manifest(
        journal=copied.meta.journal,
        seq=Seq(0) if copied.head is None else copied.head.seq,
        hash="" if copied.head is None else copied.head.hash.hex(),
        epoch=epoch,
        made_ns=now_ns,
        events_new=copied.events,
    )
    files.replace(into / MANIFEST, msgspec.json.encode(made))
    return made


def read_manifest(backup: Path) -> Manifest:
    """Raises `NotFound`."""
    try:
        return msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise NotFound(f"{backup} holds no backup: {MANIFEST} is missing") from error
    except msgspec.MsgspecError as error:
        raise JournalDamaged(f"{backup / MANIFEST} can't be read: {error}") from error


def check(backup: Path, keys: Path, progress: Progress) -> Manifest:
    """The whole of it, against its own anchor and manifest.  Raises `JournalDamaged`."""
    manifest = read_manifest(backup)
    tape = SqliteTape(Home(backup / "data"))
    try:
        found = Audit(tape, load_verifier(keys), whole=True, progress=progress).run()
    finally:
        tape.close()
    if found.damage:
        raise JournalDamaged(f"{backup}: " + "; ".join(str(one) for one in found.damage[:8]))
    head = "" if found.head is None else found.head.hash.hex()
    if found.meta is None or found.meta.journal != manifest.journal or head != manifest.hash:
        raise JournalDamaged(f"{backup}: the journal is not the one that its manifest names")
    return manifest


def restore(
    backup: Path,
    home: Path,
    *,
    keys: Path | None = None,
    against: Path | None = None,
    progress: Progress,
) -> Restored:
    """Into a home that has no journal yet.  Its orlop.toml, if it has one, says where that lies.

    keys: where they are kept, if not in the backup.  against: the old home's `journal.anchor`, if
    it was saved: it tells what is missing.  Raises `Conflict`, `JournalDamaged`.
    """
    keys = keys or backup / "keys"
    if not (keys / "keyring.json").exists():
        raise NotFound(
            f"{keys} holds no keyring, without which a journal can't be read: is {backup} a backup?"
            " if its keys are elsewhere: --keys DIR"
        )
    manifest = check(backup, keys, progress)
    lost = None if against is None else _lost(against, manifest)
    files.private_folder(home)
    if not (home / "orlop.toml").exists() and (backup / "data" / "orlop.toml").exists():
        files.replace(home / "orlop.toml", (backup / "data" / "orlop.toml").read_bytes())
    return Restored(manifest=manifest, lost=lost)


def fill(backup: Path, keys: Path, home: Path, config: JournalConfig, progress: Progress) -> None:
    """The second half of `restore`, once the settings are read."""
    with _written(home):
        _fill(backup, keys, home, config, progress)


def _fill(backup: Path, keys: Path, home: Path, config: JournalConfig, progress: Progress) -> None:
    source, target = SqliteTape(Home(backup / "data")), tapes.tape(Home(home), config)
    try:
        target.lock()
        if (home / "keys" / "keyring.json").exists() or target.look() is not None:
            raise Conflict(f"{home} has a journal already: restore into an empty home and schema")
        _copy_keys(keys, home / "keys")
        copied = _brought(source, target, progress)
        epoch = max((boot.epoch for boot in source.boots()), default=0)
        copying.anchored(target, copied, epoch + EPOCHS_SKIPPED)
    finally:
        source.close()
        target.close()


def _brought(source: SqliteTape, target: Tape, progress: Progress) -> Copied:
    """All events; each has been verified by `check`, so that a file may be copied as it is."""
    if not isinstance(target, SqliteTape):
        return copying.copy(source, target, None, progress)
    target.take(source.home)
    meta, row = target.look(), target.head()
    head = None if row is None else header_of(row)
    if meta is None:
        raise JournalDamaged("the copy holds no journal")
    seq = Seq(0 if head is None else head.seq)
    progress(seq, seq)
    return Copied(meta=meta, head=head, events=seq)


@contextmanager
def _written(place: Path) -> Iterator[None]:
    """A full or read-only disk is said as what it is; the copy may be gone on with later."""
    try:
        yield
    except OSError as error:
        raise JournalStopped(f"{place} can't be written: {error}") from error


def _lost(path: Path, manifest: Manifest) -> int:
    """How many acknowledged events the old home's anchor has seen beyond the backup."""
    slots = Home(path.parent).anchor() if path.name == "journal.anchor" else None
    seen = None if slots is None else anchor.newest(slots)[0]
    if seen is None:
        raise NotFound(f"{path} is no head anchor")
    if seen.journal != manifest.journal:
        raise Conflict(f"{path} is the anchor of journal {seen.journal}, not of this backup's")
    return max(0, seen.seq - manifest.seq)


def _copy_keys(keys: Path, into: Path) -> None:
    if not keys.is_dir():
        raise NotFound(f"{keys} is not there: is this the home of a journal?")
    files.private_folder(into)
    for path in sorted(keys.iterdir()):
        if path.is_file():
            shutil.copyfile(path, into / path.name)
            (into / path.name).chmod(path.stat().st_mode & 0o777)
    files.sync_folder(into)


__all__ = ["ON_SQLITE", "Manifest", "Restored", "back_up", "check", "fill", "restore"]
