"""What an erasure asks of every tape: single bodies go, and the chain verifies as before."""

import asyncio
from pathlib import Path

from journals import (
    Disk,
    SqliteDisk,
    intent,
    message,
    opened,
)

from orlop.abi.ids import DEFAULT_TENANT, Seq
from orlop.abi.limits import BLOB_BYTES_MIN
from orlop.store.journal import Draft


def test_a_struck_body_is_gone_for_good_and_the_next_life_finds_all_whole(disk: Disk) -> None:
    large = b"x" * (BLOB_BYTES_MIN + 100)

    async def story() -> None:
        async with opened(disk) as journal:
            first = journal.append(intent(1)).seq
            secret = message(journal, "a secret message")
            with_part = journal.append(intent(2, parts=(secret,))).seq
            draft = Draft(process=intent(3).process, kind="x", body=large, tenant=DEFAULT_TENANT)
            with_blob = journal.append(draft).seq
            last = journal.append(intent(4)).seq
            assert await journal.strike([with_part, with_blob]) == 3
            assert await journal.strike([with_part, with_blob]) == 0
            assert await journal.strike([]) == 0
            events = await journal.read(Seq(1))
            bodies = {event.header.seq: event.body for event in events}
            assert bodies[with_part] is None and bodies[with_blob] is None
            assert bodies[first] is not None and bodies[last] is not None
            # The same message may come again: it is stored anew.
            journal.append(intent(5, parts=(secret,)))
            await journal.flush()
            assert await journal.part(DEFAULT_TENANT, secret.name) == secret.data
        async with opened(disk) as journal:
            again = {event.header.seq: event.body for event in await journal.read(Seq(1))}
            assert {seq: again[seq] for seq in bodies} == bodies

    asyncio.run(story())


def test_what_is_struck_is_in_no_file_of_a_home(tmp_path: Path) -> None:
    """Nor in the redo log, which has what was written last."""
    disk = SqliteDisk(tmp_path)

    def holding(sealed: bytes) -> set[str]:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {path.name for path in files if sealed in path.read_bytes()}

    async def story() -> None:
        async with opened(disk) as journal:
            secret = journal.append(intent(1)).seq
            await journal.flush()
            sealed = disk.tape().at([secret])[0].data
            assert sealed is not None
            assert {"journal.anchor", "journal.db-wal"} <= holding(sealed)
            await journal.strike([secret])
            assert holding(sealed) == set()
            await journal.durable(journal.append(intent(2)).seq)
        async with opened(disk) as journal:
            assert [event.header.seq for event in await journal.read(Seq(1))][-1] > secret

    asyncio.run(story())
    disk.close()
