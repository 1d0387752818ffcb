"""The power is cut after each write, sync and rename of a journal's life, whatever the disk kept.

`ORLOP_SWEEP=1` tries every point and more states of each; the seed of a state is in its failure.
"""

import asyncio
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from disk_states import Disk, Step, lay_out, parent, read_log
from journals import SqliteDisk, intent

from orlop.abi.ids import Seq
from orlop.store.verify import verify

TESTS = Path(__file__).parent.parent
IS_WHOLE = bool(os.environ.get("ORLOP_SWEEP"))
EVERY = 1 if IS_WHOLE else 9
STATES = 6 if IS_WHOLE else 4


@dataclass(frozen=True)
class Recording:
    root: str
    acks: str
    steps: list[Step]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """One scripted life, with all that it did to its disk."""
    folder = tmp_path_factory.mktemp("recorded")
    library, log, root = folder / "recorder.so", folder / "log", folder / "disk"
    built = subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", library, TESTS / "disk_recorder.c", "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        pytest.skip(f"no C compiler: {built.stderr}")
    root.mkdir(mode=0o700)
    paths = os.pathsep.join((str(TESTS), str(TESTS.parent / "src")))
    ran = subprocess.run(
        [
            sys.executable,
            str(TESTS / "contract" / "scripted_journal.py"),
            root / "home",
            root / "acks",
        ],
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "LD_PRELOAD": str(library),
            "DISK_ROOT": str(root),
            "DISK_LOG": str(log),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return Recording(str(root), str(root / "acks"), read_log(log))


def test_what_is_recorded_is_what_is_on_the_disk(recording: Recording) -> None:
    disk = Disk()
    for step in recording.steps:
        disk.do(step)
    state = list(disk.states(random.Random(1), 2))[1]
    for path, data in state.items():
        assert Path(path).read_bytes() == data, path
    assert sum(step.kind == "S" for step in recording.steps) > 60
    assert {"C", "W", "T", "S", "R", "D"} <= {step.kind for step in recording.steps}


def test_no_power_cut_loses_what_was_acknowledged(recording: Recording, tmp_path: Path) -> None:
    disk, tried, before = Disk(), 0, 0
    acknowledged: dict[int, str] = {}
    for point, step in enumerate(recording.steps):
        disk.do(step)
        if step.path == recording.acks and step.kind == "W":
            seq, digest = step.data.decode().split()
            acknowledged[int(seq)] = digest
        is_due = point % EVERY == 0 or len(acknowledged) > before
        before = len(acknowledged)
        if not is_due:
            continue
        chance = random.Random(point)
        for number, state in enumerate(disk.states(chance, STATES)):
            tried += 1
            place = tmp_path / f"{point}-{number}"
            lay_out(state, disk.folders, recording.root, place)
            check(
                place / "home",
                acknowledged,
                f"point {point} ({step.kind} "
                f"{step.path.removeprefix(parent(recording.root))}), state {number}",
            )
    assert tried > 150


def check(home: Path, acknowledged: dict[int, str], where: str) -> None:
    """An audit of the files alone and the next start find all of it as it was; it goes on."""
    if newest := max(acknowledged, default=0):
        found = verify(home)
        assert found.is_whole and found.events >= newest, (where, found.damage)

    async def scenario() -> None:
        disk = SqliteDisk(home)
        journal = disk.journal()
        try:
            await journal.open("test", "host", 2)
            found = {e.header.seq: e.header.hash.hex() for e in await journal.read(Seq(1))}
            assert acknowledged.items() <= found.items(), where
            await journal.durable(journal.append(intent(9_999)).seq)
        finally:
            await journal.close()
            disk.close()

    try:
        asyncio.run(scenario())
    except Exception as error:
        raise AssertionError(f"{where}: {error!r}") from error
    verdict = verify(home)
    assert verdict.is_whole, (where, verdict.damage)
