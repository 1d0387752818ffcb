"""A program that writes a journal until it is killed, or until the journal stops.

`python journal_writer.py HOME [STEPS]` prints a line for each acknowledged event: `seq hash`.
"""

import asyncio
import sys
from pathlib import Path

from journals import SqliteDisk, intent, message, outcome

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import ProcessId, Seq
from orlop.machine import faults


def say(*words: object) -> None:
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


async def write(home: Path, steps: int, fault: str) -> None:
    disk = SqliteDisk(home)
    journal = disk.journal()
    await journal.open("test", "host", 1)
    faults.install_from(fault)
    say("opened", journal.head_seq)

    async def agent(name: int) -> None:
        process = ProcessId(f"prc_{name}")
        for number in range(steps):
            call = int(journal.head_seq) * 100 + name
            part = message(journal, f"{journal.epoch} {name} {number} " + "x" * 200)
            entered = journal.append(intent(call, process, (part,)))
            returned = journal.append(outcome(call, entered.seq, process))
            await journal.durable(returned.seq)
            say("durable", returned.seq, returned.hash.hex())

    try:
        await asyncio.gather(*(agent(name) for name in range(4)))
    except JournalStopped as error:
        say("stopped", error.message)
        say("readable", len(await journal.read(Seq(1))))
    await journal.close()
    disk.close()


if __name__ == "__main__":
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    asyncio.run(write(Path(sys.argv[1]), steps, sys.argv[3] if len(sys.argv) > 3 else ""))
