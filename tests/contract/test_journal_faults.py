"""A real journal under real failures: kills, full disks, failed fsyncs, locks."""

import asyncio
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journals import SqliteDisk, intent, opened

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import Seq
from orlop.store.verify import verify

TESTS = Path(__file__).parent.parent
KILLS = 12

SHIM = r"""
/* Fails every fdatasync and fsync once the file that ORLOP_FSYNC_FAILS names is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int is_due(void) {
    const char *sign = getenv("ORLOP_FSYNC_FAILS");
    return sign && access(sign, F_OK) == 0;
}
static int sync_with(const char *name, int handle) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (is_due()) { errno = EIO; return -1; }
    return real(handle);
}
int fdatasync(int handle) { return sync_with("fdatasync", handle); }
int fsync(int handle) { return sync_with("fsync", handle); }
"""


class Writer:
    """The writing program, and what it said."""

    def __init__(
        self,
        home: Path,
        steps: int = 1_000_000,
        fault: str = "",
        env: dict[str, str] | None = None,
        limit: Callable[[], None] | None = None,
    ) -> None:
        self.said: list[list[str]] = []
        paths = os.pathsep.join((str(TESTS), str(TESTS.parent / "src")))
        self._program = subprocess.Popen(
            [sys.executable, str(TESTS / "journal_writer.py"), str(home), str(steps), fault],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths, **(env or {})},
            preexec_fn=limit,
            text=True,
        )

    def read_until(self, durable: int) -> None:
        """Until so many events were acknowledged, or the program ends."""
        assert self._program.stdout is not None
        for line in self._program.stdout:
            self.said.append(line.split(maxsplit=2))
            durable -= line.startswith("durable")
            if durable <= 0:
                return

    def kill(self) -> None:
        self._program.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        self.read_until(durable=sys.maxsize)
        assert self._program.stdout is not None
        self._program.stdout.close()
        return self._program.wait()

    def acknowledged(self) -> dict[int, str]:
        # The last line may be cut off by the kill.
        lines = [line for line in self.said if line[0] == "durable" and len(line) == 3]
        return {int(seq): hash_.strip() for _, seq, hash_ in lines if len(hash_.strip()) == 64}

    def stopped(self) -> str:
        return " ".join(next(line for line in self.said if line[0] == "stopped")[1:])


def assert_kept(home: Path, acknowledged: dict[int, str]) -> None:
    """Everything acknowledged is there, as it was; and the next life works."""
    assert verify(home).is_whole

    async def scenario() -> None:
        disk = SqliteDisk(home)
        async with opened(disk) as journal:
            hashes = {e.header.seq: e.header.hash.hex() for e in await journal.read(Seq(1))}
            assert acknowledged.items() <= hashes.items()
            await journal.durable(journal.append(intent(1)).seq)
        disk.close()

    asyncio.run(scenario())


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    chance = random.Random("orlop kills")
    acknowledged: dict[int, str] = {}
    for _ in range(KILLS):
        writer = Writer(tmp_path / "home")
        writer.read_until(durable=chance.randrange(1, 60))
        writer.kill()
        acknowledged |= writer.acknowledged()
    assert_kept(tmp_path / "home", acknowledged)


@pytest.mark.parametrize("point", ["journal.commit", "journal.committed", "journal.anchored"])
def test_a_kill_between_commit_and_anchor_loses_nothing(point: str, tmp_path: Path) -> None:
    acknowledged: dict[int, str] = {}
    for passing in (2, 3, 9):
        writer = Writer(tmp_path / "home", fault=f"{point}:{passing}")
        assert writer.wait() == -signal.SIGKILL
        acknowledged |= writer.acknowledged()
    assert_kept(tmp_path / "home", acknowledged)


def test_a_file_that_may_not_grow_stops_the_journal_cleanly(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))

    writer = Writer(tmp_path / "home", limit=limit)
    assert writer.wait() == 0
    assert "could not commit" in writer.stopped()
    assert_kept(tmp_path / "home", writer.acknowledged())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_stops_the_journal_and_the_reserve_lets_it_recover(small_disk: Path) -> None:
    home = small_disk / "home"
    writer = Writer(home)
    assert writer.wait() == 0
    assert "the disk is full" in writer.stopped()
    assert (home / "reserve").stat().st_size == 0
    assert_kept(home, writer.acknowledged())


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler for the failing fsync")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"], cwd=folder, check=True
    )
    return folder / "shim.so"


def test_a_failed_fsync_stops_the_journal_for_good(shim: Path, tmp_path: Path) -> None:
    sign = tmp_path / "now"
    writer = Writer(
        tmp_path / "home", env={"LD_PRELOAD": str(shim), "ORLOP_FSYNC_FAILS": str(sign)}
    )
    writer.read_until(durable=20)
    sign.touch()
    assert writer.wait() == 0
    # The commit's, or the anchor's: whichever comes first.
    assert any(why in writer.stopped() for why in ("fsync failed", "Input/output error"))
    sign.unlink()
    assert_kept(tmp_path / "home", writer.acknowledged())


def test_a_locked_database_stops_the_journal_with_a_clear_message(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = SqliteDisk(tmp_path / "home")
        journal = disk.journal()
        await journal.open("test", "host", 1)
        foreign = sqlite3.connect(tmp_path / "home" / "journal.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalStopped, match="another program holds a lock"):
            await journal.durable(journal.append(intent(1)).seq)
        foreign.close()
        await journal.close()
        disk.close()

    asyncio.run(scenario())
    assert_kept(tmp_path / "home", {})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET header = '{}' WHERE seq = 1",
        "DELETE FROM event WHERE seq = 1",
        "INSERT OR REPLACE INTO event(seq, header, hash) SELECT seq, header, hash FROM event",
        "INSERT OR REPLACE INTO event(seq, header, hash) SELECT 99, header, hash FROM event",
        "REPLACE INTO body(id, key_id) VALUES (1 << 16, 1)",
        "UPDATE body SET data = x'00'",
        "DELETE FROM body",
    ],
)
def test_the_tables_refuse_to_be_changed_with_any_sqlite_tool(
    statement: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        disk = SqliteDisk(tmp_path / "home")
        async with opened(disk):
            pass
        disk.close()

    asyncio.run(scenario())
    connection = sqlite3.connect(tmp_path / "home" / "journal.db")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()
    assert verify(tmp_path / "home").is_whole


def test_the_views_can_be_read_with_any_sqlite_tool(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "home", steps=5)
    assert writer.wait() == 0
    connection = sqlite3.connect(f"file:{tmp_path}/home/journal.db?mode=ro", uri=True)
    calls = connection.execute("SELECT status, seconds >= 0, entered FROM calls").fetchall()
    assert len(calls) == 20 and {status for status, _, _ in calls} == {"returned"}
    assert calls[0][2].endswith("Z") and calls[0][2].startswith("20")
    processes = connection.execute("SELECT process, calls_returned FROM processes").fetchall()
    assert ("prc_0", 5) in processes
    kinds = connection.execute("SELECT DISTINCT kind FROM events").fetchall()
    assert ("kernel.booted",) in kinds
    connection.close()


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "home", steps=1)
    assert writer.wait() == 0
    keyring = tmp_path / "home" / "keys" / "keyring.json"
    keyring.chmod(0o644)
    with pytest.raises(JournalStopped, match="others may read"):
        SqliteDisk(tmp_path / "home").journal()
    keyring.unlink()
    with pytest.raises(JournalStopped, match="without its keys"):
        SqliteDisk(tmp_path / "home").journal()
