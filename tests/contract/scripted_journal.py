"""A program that does all that a journal does to a disk, and says what was acknowledged.

`python scripted_journal.py HOME ACKS`: a line `seq hash` in ACKS for each acknowledged event.
"""

import asyncio
import os
import sys
from pathlib import Path

from journals import SqliteDisk, intent, message, outcome

from orlop.abi.ids import ProcessId, Seq, TenantId
from orlop.store.journal import Draft, Journal

BIG = 70_000
SHORT = 8 * 1024
"""A redo log that goes round in each life, and some batches are too long for."""


async def life(home: Path, acks: int, number: int) -> None:
    disk = SqliteDisk(home, redo_bytes=SHORT)
    journal = disk.journal()
    await journal.open("test", "host", 1)
    for step in range(9):
        call = number * 100 + step
        text = "x" * (BIG if step == 2 else 300)
        part = message(journal, f"{number} {step} {text}")
        entered = journal.append(intent(call, ProcessId(f"prc_{step % 2}"), (part,)))
        returned = journal.append(outcome(call, entered.seq, ProcessId(f"prc_{step % 2}")))
        await say(journal, acks, returned.seq)
    other = Draft(
        process=ProcessId("prc_other"), kind="note", body=b"{}", tenant=TenantId(f"t{number}")
    )
    await say(journal, acks, journal.append(other).seq)
    if number == 1:
        await journal.prune(Seq(4))
    await journal.close()
    disk.close()


async def say(journal: Journal, acks: int, seq: Seq) -> None:
    await journal.durable(seq)
    found = (await journal.read(seq, seq))[0].header
    os.write(acks, f"{seq} {found.hash.hex()}\n".encode())


async def main() -> None:
    acks = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(3):
        await life(Path(sys.argv[1]), acks, number)
    os.close(acks)


if __name__ == "__main__":
    asyncio.run(main())
