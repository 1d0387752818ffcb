"""How long does it take to back up a journal, and to bring it back?

Expected: the copy out reads, checks and writes each event, some 20 microseconds of CPU; the proof
takes 10, the start that reads all of it (there is no snapshot) 13, and the copy back is a file's.
RTO is all from "restore" to a journal that is open and read.  An event has a body of 230 bytes.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from journals import SqliteDisk, opened

from bench.report import Report, begin, finish
from orlop.abi.ids import DEFAULT_TENANT, ProcessId
from orlop.abi.processes import OutcomeStated
from orlop.operate.carrying import drilled
from orlop.state import codec
from orlop.store.tapes import ON_SQLITE

PROCESSES = 1_000
AT_ONCE = 2_000
NOTE = OutcomeStated(status="ok", note="n" * 180)


async def write(home: Path, events: int) -> None:
    disk = SqliteDisk(home)
    async with opened(disk) as journal:
        for first in range(0, events, AT_ONCE):
            for number in range(first, min(first + AT_ONCE, events)):
                process = ProcessId(f"prc_{number % PROCESSES}")
                journal.append(codec.draft(process, DEFAULT_TENANT, NOTE))
            await journal.flush()
    disk.close()


def measure(report: Report, events: int) -> None:
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as folder:
        home = Path(folder) / "home"
        asyncio.run(write(home, events))
        found = asyncio.run(drilled(home, ON_SQLITE, lambda done, all_: None))
    report.add("events", found.events, "")
    report.add("backup on disk", found.bytes / 1e6, "MB")
    report.add("backup", found.backup_s, "s")
    report.add("restore (RTO)", found.rto_s, "s")
    report.add("restore of a million events, at this pace", found.rto_s / found.events * 1e6, "s")


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer events, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    given = parser.parse_args()
    report = begin(__doc__.splitlines()[0], "a million events in half a minute to one")
    measure(report, 50_000 if given.quick else 1_000_000)
    finish(report, given.json)


if __name__ == "__main__":
    main()
