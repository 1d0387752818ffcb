"""Damage to a real journal: how it is made, and whether opening it notices."""

import asyncio
import enum
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from journals import SqliteDisk, intent, message, opened, outcome

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import Seq
from orlop.abi.limits import BLOB_BYTES_MIN
from orlop.store import redo
from orlop.store.home import Home
from orlop.store.journal import Stored
from orlop.store.tape import ANCHOR_SLOTS

ACKNOWLEDGED: Final = "acknowledged.msgpack"
"""Beside the journal: what was acknowledged, as it was then (the witness)."""


class Outcome(enum.Enum):
    WHOLE = "every acknowledged event is there as it was"
    NOTICED = "it does not open, and says what is wrong"
    UNNOTICED = "it opens, and an acknowledged event is lost or altered"


def made_journal(path: Path) -> Path:
    """Two lives: one that ended cleanly, one that was killed with its write-ahead log full."""
    live = path.with_name("live")

    async def scenario() -> None:
        disk = SqliteDisk(live)
        async with opened(disk) as journal:
            for number in range(40):
                entered = journal.append(
                    intent(number, parts=(message(journal, f"message {number}"),))
                )
                journal.append(outcome(number, entered.seq))
        async with opened(disk) as journal:
            for number in range(40, 100):
                # The last one is large and can't be packed: it lies in a blob.
                text = random.Random(number).randbytes(BLOB_BYTES_MIN if number == 99 else 9).hex()
                entered = journal.append(intent(number, parts=(message(journal, text),)))
                await journal.durable(journal.append(outcome(number, entered.seq)).seq)
            events = await journal.read(Seq(1))
            # As a kill leaves it: the files while the journal is open.
            shutil.copytree(live, path)
            (path / ACKNOWLEDGED).write_bytes(msgspec.msgpack.encode(events))
        disk.close()

    asyncio.run(scenario())
    return path


def opened_after(path: Path, ignore_loss: bool = False) -> Outcome:
    """Open, and compare with the witness."""
    expected = msgspec.msgpack.decode((path / ACKNOWLEDGED).read_bytes(), type=list[Stored])

    async def scenario() -> Outcome:
        disk = SqliteDisk(path)
        journal = disk.journal()
        try:
            await journal.open("test", "host", 1)
            events = await journal.read(Seq(1))
            by_process = await journal.of_process(expected[-1].header.process)
            calls = [await journal.of_call(e.header.call) for e in expected if e.header.call]
        except JournalStopped as error:
            assert error.message
            return Outcome.NOTICED
        finally:
            await journal.close()
            disk.close()
        if ignore_loss:
            return Outcome.WHOLE
        wanted = [e for e in expected if e.header.process == expected[-1].header.process]
        same = (
            events[: len(expected)] == expected
            and by_process[: len(wanted)] == wanted
            and all(len(call) == 2 for call in calls)
        )
        return Outcome.WHOLE if same else Outcome.UNNOTICED

    return asyncio.run(scenario())


def forget_redo(path: Path) -> None:
    """The anchor stays; nothing is left to put back what the database loses."""
    home = Home(path)
    newest = home.redo_records()[-1]
    home.set_anchor(newest.mark.generation % ANCHOR_SLOTS, newest.slot)
    home.open_redo().wipe()
    home.close()


def _cut(name: str) -> Callable[[Path, random.Random], str]:
    def damage(home: Path, chance: random.Random) -> str:
        path = home / name
        size = chance.randrange(path.stat().st_size)
        with path.open("r+b") as file:
            file.truncate(size)
        return f"{name} cut to {size} bytes"

    return damage


def _flip(name: str, bits: int = 1) -> Callable[[Path, random.Random], str]:
    def damage(home: Path, chance: random.Random) -> str:
        path = home / name
        data = bytearray(path.read_bytes())
        places = [chance.randrange(len(data)) for _ in range(bits)]
        for place in places:
            data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        return f"{name} flipped at {places}"

    return damage


def _flip_record(home: Path, chance: random.Random) -> str:
    """Where the redo log says something: most of its file is room for more."""
    path = home / "journal.anchor"
    data = bytearray(path.read_bytes())
    place = chance.randrange(redo.START, len(data.rstrip(b"\0")))
    data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"journal.anchor flipped at {place}"


def _record_and_log(home: Path, chance: random.Random) -> str:
    """What either of them has lost, the other one had."""
    (home / "journal.db-wal").unlink()
    path = home / "journal.anchor"
    data = path.read_bytes()
    lost = chance.choice(redo.records(data)[:-1])
    at = data.index(lost.slot.rstrip(b"\0"), redo.START)
    path.write_bytes(data[:at] + b"?" + data[at + 1 :])
    return f"the log removed, and the record of event {lost.mark.seq} flipped"


def _zero_page(name: str) -> Callable[[Path, random.Random], str]:
    def damage(home: Path, chance: random.Random) -> str:
        path = home / name
        data = bytearray(path.read_bytes())
        start = chance.randrange(len(data) // 4096) * 4096
        data[start : start + 4096] = bytes(4096)
        path.write_bytes(data)
        return f"{name} zeroed at {start}"

    return damage


def _remove(name: str) -> Callable[[Path, random.Random], str]:
    def damage(home: Path, chance: random.Random) -> str:
        (home / name).unlink()
        return f"{name} removed"

    return damage


def _old_anchor(home: Path, chance: random.Random) -> str:
    """The newer slot is gone, as after a torn write: the older one is one commit behind."""
    path = home / "journal.anchor"
    data = bytearray(path.read_bytes())
    slot = chance.randrange(2)
    data[slot * 4096 : slot * 4096 + 512] = bytes(512)
    path.write_bytes(data)
    return f"slot {slot} zeroed"


def _flip_blob(home: Path, chance: random.Random) -> str:
    path = next(path for path in (home / "blobs").rglob("*") if path.is_file())
    return _flip(str(path.relative_to(home)))(home, chance)


DAMAGES: Final[Mapping[str, Callable[[Path, random.Random], str]]] = {
    "log cut": _cut("journal.db-wal"),
    "log flipped": _flip("journal.db-wal"),
    "log page zeroed": _zero_page("journal.db-wal"),
    "log removed": _remove("journal.db-wal"),
    "database flipped": _flip("journal.db"),
    "database flipped often": _flip("journal.db", bits=40),
    "database page zeroed": _zero_page("journal.db"),
    "database cut": _cut("journal.db"),
    "database removed": _remove("journal.db"),
    "anchor flipped": _flip("journal.anchor", bits=3),
    "redo record flipped": _flip_record,
    "redo record flipped and log removed": _record_and_log,
    "anchor cut": _cut("journal.anchor"),
    "anchor removed": _remove("journal.anchor"),
    "anchor slot zeroed": _old_anchor,
    "blob flipped": _flip_blob,
}
