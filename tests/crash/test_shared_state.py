"""One memory and one tree under two real kernels on one real PostgreSQL, which are lost in turn."""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
from crash.histories import FileShelf, History, MemoryShelf, Shelf, until
from crash.two_kernels import Machine, machines, python
from postgres_server import Server, postgres

import orlop
from orlop.abi.errors import KernelError
from orlop.abi.files import Listing, WatchFiles
from orlop.abi.memory import Item
from orlop.abi.memory_orders import EraseOrder
from orlop.sdk.memory import memory_operator
from orlop.sdk.sync import SyncKernel
from orlop.store.tapes import JournalConfig
from orlop.store.verify import verify

LEASE_S = 2.0
CLIENTS = 4
NAMES = ("east", "west")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as made:
        yield made


def state_of(asked: Machine, name: str) -> str:
    kernels = json.loads(asked.orlop("kernels", "--json").stdout)
    return str(next(one["state"] for one in kernels if one["schema"] == name))


def lose_each_in_turn(house: Mapping[str, Machine], names: tuple[str, str]) -> None:
    for lost, other in (names, names[::-1]):
        time.sleep(1.0)
        house[lost].lose()
        survivor = house[other]
        assert until(lambda: state_of(survivor, lost) == "taken over", 20), survivor.log()  # noqa: B023
        time.sleep(0.5)
        house[lost].start()
    time.sleep(1.0)


@pytest.mark.parametrize(
    ("shelf", "names", "seed"),
    [(MemoryShelf(), ("east", "west"), 11), (FileShelf(), ("north", "south"), 12)],
)
def test_what_was_acknowledged_by_one_kernel_is_what_all_know_while_kernels_are_lost(
    tmp_path: Path, server: Server, shelf: Shelf, names: tuple[str, str], seed: int
) -> None:
    with machines(tmp_path, server.url, names, LEASE_S) as house:
        history = History(seed, [tmp_path / name for name in names], shelf)
        history.begin(CLIENTS)
        try:
            lose_each_in_turn(house, names)
        finally:
            history.end()
        counts = {
            what: sum(step.what == what for step in history.steps) for what in ("read", "write")
        }
        assert min(counts.values()) > 50, (counts, house[names[0]].log(), house[names[1]].log())
        history.check()
        for name in names:
            history.check_past(tmp_path / name)


PROGRAM = """
import sys, time, orlop
told = open(sys.argv[1], "a", buffering=1)
with orlop.connect_sync() as kernel:
    for number in range({steps}):
        kernel.remember(f"step {{number}}", key="step", embed=False)
        kernel.remember(f"mine {{number}}", key="mine", namespace="session", embed=False)
        kernel.files.write("log.txt", f"{{number}}\\n", append=True)
        step = kernel.recall(key="step").memories[0]
        mine = kernel.recall(key="mine", namespaces=("session",)).memories[0]
        lines = kernel.files.read("log.txt").decode().split()
        told.write(f"{{number}} {{step.version}} {{mine.version}} {{len(lines)}}\\n")
        said = (step.text, mine.text, lines[-1])
        assert said == (f"step {{number}}", f"mine {{number}}", str(number)), said
        time.sleep(0.2)
"""
STEPS = 14


def test_a_process_that_is_taken_over_has_its_memories_files_pipes_mounts_and_contexts(
    tmp_path: Path, server: Server
) -> None:
    told, script, host = tmp_path / "told", tmp_path / "agent.py", tmp_path / "host"
    script.write_text(PROGRAM.format(steps=STEPS))
    host.mkdir()
    (host / "note.txt").write_text("of the host")
    names = ("spring", "autumn")
    with machines(tmp_path, server.url, names, LEASE_S) as house:
        spring, autumn = (house[name] for name in names)
        start = ("run", "-d", "--restart", "on-failure", "--name", "agent", "--")
        spring.orlop(*start, *python(script), str(told))
        spring.orlop("files", "mount", "/shared/host", str(host))
        with orlop.connect_sync(home=spring.home, process="writer") as kernel:
            kernel.files.put("/shared/pipe", b"a message")
            with orlop.connect_sync(home=autumn.home, process="taker") as other:
                assert other.files.take("/shared/pipe") == b"a message"
            kernel.files.put("/shared/pipe", b"another one")
            answer = kernel.infer("a question", model="fake")
            kernel.files.save_context(answer.facts.call, "/shared/case.json")
            kernel.files.write("/shared/report.md", "first")
            assert kernel.files.write("/shared/report.md", "second") == 2
        assert until(lambda: len(told.read_text().splitlines()) >= 4, 30), spring.log()
        spring.lose()
        last = f"{STEPS - 1} "
        assert until(lambda: told.read_text().splitlines()[-1].startswith(last), 60), autumn.log()
        # Its record answers what it had done; what follows goes on from there: no step is missing,
        # and none was made twice.
        lines = [line.split() for line in told.read_text().splitlines()]
        assert {tuple(line) for line in lines} == {
            (str(n), str(n + 1), str(n + 1), str(n + 1)) for n in range(STEPS)
        }
        with orlop.connect_sync(home=autumn.home, process="reader", patience_s=20) as kernel:
            assert kernel.files.take("/shared/pipe") == b"another one"
            assert kernel.files.read("/shared/host/note.txt") == b"of the host"
            assert kernel.files.read("/shared/report.md", version=1) == b"first"
            assert kernel.files.read("/shared/report.md") == b"second"
            context = kernel.files.open_context("/shared/case.json")
            assert [message.role for message in context.messages] == ["user", "assistant"]
        # Both sides count alike: the one that comes back has no other past than the survivor.
        spring.start()
        pasts = [
            MemoryShelf().past(machine.home, "step", "agents/agent") for machine in (spring, autumn)
        ]
        assert pasts[0] == pasts[1] == {n + 1: f"step {n}" for n in range(STEPS)}
        versions = [
            machine.orlop("files", "versions", "/shared/report.md", "--json").stdout
            for machine in (spring, autumn)
        ]
        assert versions[0] == versions[1]


def test_what_is_erased_at_one_kernel_is_gone_from_all_journals_and_all_files(
    tmp_path: Path, server: Server
) -> None:
    names = ("hither", "yonder")
    with machines(tmp_path, server.url, names, LEASE_S) as house:
        homes = [tmp_path / name for name in names]
        for home in homes:
            item = Item(text=f"xylograph {home.name}", subjects=("mail:ann@example.com",))
            with at(home) as kernel:
                kernel.remember([item], namespace="common/people", embed=False)
        for home in homes:
            with at(home) as kernel:
                assert len(kernel.recall(namespaces=("common/people",)).memories) == 2
        memory_operator(home=homes[0]).erase(EraseOrder(subject="mail:ann@example.com"))
        for home in homes:
            with at(home) as kernel:
                assert kernel.recall(namespaces=("common/people",)).memories == ()
        with psycopg.connect(server.url) as reader:
            for name in names:
                kept = reader.execute(
                    f"SELECT count(*) FROM {name}.event e JOIN {name}.body b ON b.id = e.seq << 16"
                    " WHERE e.kind = 'memory.written' AND b.data IS NOT NULL"
                ).fetchone()
                assert kept == (0,), name
        assert until(lambda: not any(map(holds_word, homes)), 10), house["yonder"].log()
    for name in names:
        assert verify(tmp_path / name, config=JournalConfig(url=server.url, schema=name)).is_whole


def holds_word(home: Path) -> bool:
    return any(b"xylograph" in file.read_bytes() for file in (home / "index").glob("memory.db*"))


def test_who_watches_and_who_waits_for_a_message_hears_of_other_kernels(
    tmp_path: Path, server: Server
) -> None:
    names = ("left", "right")
    with (
        machines(tmp_path, server.url, names, LEASE_S) as house,
        ThreadPoolExecutor() as waiting,
        orlop.connect_sync(home=house["left"].home, process="writer") as left,
        orlop.connect_sync(home=house["right"].home, process="taker") as right,
        orlop.connect_sync(home=house["right"].home, process="watcher") as watcher,
    ):
        left.files.write("/shared/log", "1")
        since = watcher.files.list("/shared")[-1].seq
        seen = waiting.submit(lambda: watcher.call(WatchFiles(path="/shared", since=since)))
        taken = waiting.submit(lambda: right.files.take("/shared/pipe"))
        time.sleep(0.5)
        assert not seen.done() and not taken.done()
        left.files.write("/shared/log", "2")
        left.files.put("/shared/pipe", b"order 7")
        listing = seen.result(20)
        assert isinstance(listing, Listing)
        assert [(row.path, row.version) for row in listing.files] == [("/shared/log", 2)]
        assert taken.result(20) == b"order 7"


def test_while_the_database_is_away_everybody_is_told_and_nothing_is_lost_or_started_by_hand(
    tmp_path: Path,
) -> None:
    names = ("dawn", "dusk")
    with postgres() as server, machines(tmp_path, server.url, names, LEASE_S) as house:
        homes = [tmp_path / name for name in names]
        histories = [History(13, homes, MemoryShelf()), History(14, homes, FileShelf())]
        for history in histories:
            history.begin(2)
        try:
            for _ in range(3):  # In the middle of commits, whose answers are lost.
                time.sleep(1.0)
                cut_off(server)
                assert until(lambda: all(map(is_ready, homes)), 40), house["dawn"].log()
            server.kill()
            assert until(lambda: not any(map(is_ready, homes)), 20), "nobody says that he is ready"
            for home in homes:
                with pytest.raises(KernelError), at(home) as kernel:
                    kernel.recall(namespaces=("common/history",))
            time.sleep(2 * LEASE_S)
            server.start()
            assert until(lambda: all(map(is_ready, homes)), 40), house["dawn"].log()
            time.sleep(1.0)
        finally:
            for history in histories:
                history.end()
        for history in histories:
            assert len(history.steps) > 50, house["dawn"].log()
            history.check()
            for home in homes:
                history.check_past(home)


def at(home: Path) -> SyncKernel:
    return orlop.connect_sync(home=home, process="asker", patience_s=0)


def is_ready(home: Path) -> bool:
    """As it says itself."""
    info = json.loads((home / "info.json").read_text())
    try:
        with urlopen(f"{info['url']}/ready", timeout=20) as answer:
            return bool(json.loads(answer.read())["ready"])
    except OSError:
        return False


def cut_off(server: Server) -> None:
    with psycopg.connect(server.url, autocommit=True) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'orlop%'"
        )
