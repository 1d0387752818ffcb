"""How fast, how small and how sure is the journal?

Expected, on two cores with an fdatasync of about 0.1 ms: thousands of steps a second with one
agent, about ten thousand with 32; about 2 kB a step; 100,000 events a second read back, verified.
A step is an intent and an outcome; it is over when its outcome is durable.
"""

import asyncio
import importlib
import importlib.util
import logging
import platform
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from damage import DAMAGES, Outcome, made_journal, opened_after
from journals import SqliteDisk, intent, message, opened, outcome

from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ProcessId, Seq
from orlop.store.journal import Draft, Journal, Part
from orlop.store.verify import verify

WORDS = ["order", "refund", "parcel", "invoice", "please", "customer", "delivery", "status"]
WORDS += [
    "warehouse",
    "returned",
    "missing",
    "account",
    "payment",
    "tomorrow",
    "address",
    "regards",
]
BODY = msgspec.json.encode({"kind": "call", "text": "x" * 200})


class Result(msgspec.Struct):
    """One line of the table.  `goal`: what the value is held against; empty where nothing is."""

    name: str
    value: float
    unit: str
    goal: str = ""


class Bench:
    """Rounds of scenarios, each on a fresh home in `root`."""

    def __init__(self, root: Path, rounds: int, is_quick: bool) -> None:
        self.root = root
        self.rounds = rounds
        self.is_quick = is_quick
        self.results: list[Result] = []

    def add(self, name: str, value: float, unit: str, goal: str = "") -> None:
        self.results.append(Result(name, value, unit, goal))
        click.echo(f"{name:<64} {value:>14,.2f} {unit:<10} {goal}")

    def median(self, measure: Callable[[], float]) -> float:
        return statistics.median(measure() for _ in range(self.rounds))

    def run(self, scenario: Callable[[SqliteDisk], Awaitable[float]]) -> float:
        async def life(disk: SqliteDisk) -> float:
            return await scenario(disk)

        with folder(self.root) as path:
            disk = SqliteDisk(path / "home")
            try:
                # The loop that the kernel runs on.
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    return runner.run(life(disk))
            finally:
                disk.close()


@contextmanager
def folder(root: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=root))
    try:
        yield path
    finally:
        shutil.rmtree(path)


# Steps.


def step_drafts(call: int, process: ProcessId) -> tuple[Draft, Draft]:
    """230 bytes an event, as a small call has."""
    entered, returned = intent(call, process), outcome(call, 1, process)
    return (
        msgspec.structs.replace(entered, body=BODY),
        msgspec.structs.replace(returned, body=BODY),
    )


async def agent(journal: Journal, number: int, steps: int, awaited: bool) -> None:
    process = ProcessId(f"prc_{number:026d}")
    for step in range(steps):
        entered, returned = step_drafts(number * 1_000_000 + step, process)
        seq = journal.append(entered).seq
        if awaited:
            await journal.durable(seq)
        await journal.durable(journal.append(returned).seq)


def steps_per_s(bench: Bench, agents: int, steps: int, awaited: bool) -> float:
    async def scenario(disk: SqliteDisk) -> float:
        async with opened(disk) as journal:
            await agent(journal, agents, 50, awaited)
            start = time.perf_counter()
            await asyncio.gather(
                *(agent(journal, number, steps, awaited) for number in range(agents))
            )
            return agents * steps / (time.perf_counter() - start)

    return bench.run(scenario)


def raw_steps_per_s(bench: Bench, steps: int, commits: int) -> float:
    """SQLite alone: the same bytes, `commits` commits a step, no chain, no sealing, no anchor."""
    with folder(bench.root) as path:
        connection = sqlite3.connect(path / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE event(seq INTEGER PRIMARY KEY, body BLOB)")
        start = time.perf_counter()
        for _ in range(steps):
            if commits == 1:
                connection.execute("INSERT INTO event(body) VALUES (?), (?)", (BODY, BODY))
            else:
                connection.execute("INSERT INTO event(body) VALUES (?)", (BODY,))
                connection.execute("INSERT INTO event(body) VALUES (?)", (BODY,))
        rate = steps / (time.perf_counter() - start)
        connection.close()
        return rate


def append_us(bench: Bench, events: int) -> float:
    async def scenario(disk: SqliteDisk) -> float:
        async with opened(disk) as journal:
            drafts = [step_drafts(number, KERNEL_PROCESS)[0] for number in range(events)]
            start = time.perf_counter()
            for draft in drafts:
                journal.append(draft)
            took = time.perf_counter() - start
            await journal.flush()
            return took / events * 1e6

    return bench.run(scenario)


def bench_steps(bench: Bench) -> None:
    steps = 300 if bench.is_quick else 2_000
    many = 60 if bench.is_quick else 400
    rows: list[tuple[str, Callable[[], float], str]] = [
        ("raw SQLite, 1 commit a step", lambda: raw_steps_per_s(bench, steps, 1), ""),
        ("raw SQLite, 2 commits a step", lambda: raw_steps_per_s(bench, steps, 2), ""),
        ("1 agent", lambda: steps_per_s(bench, 1, steps, False), ">= 2,000"),
        ("1 agent, intent awaited", lambda: steps_per_s(bench, 1, steps, True), ">= 1,200"),
        ("32 agents", lambda: steps_per_s(bench, 32, many, False), ">= 8,000"),
        ("32 agents, intent awaited", lambda: steps_per_s(bench, 32, many, True), ""),
    ]
    # The arms take turns, so that a busy neighbour slows all of them.
    measured: dict[str, list[float]] = {name: [] for name, _, _ in rows}
    for _ in range(bench.rounds):
        for name, measure, _ in rows:
            measured[name].append(measure())
    for name, _, goal in rows:
        bench.add(name, statistics.median(measured[name]), "steps/s", goal)
    bench.add("append", bench.median(lambda: append_us(bench, 5_000)), "us/event", "")


# Others.


def langgraph_per_s(bench: Bench, steps: int) -> float:
    """`SqliteSaver.put`: one checkpoint a step, as durability=sync does (without the graph)."""
    saver_module = importlib.import_module("langgraph.checkpoint.sqlite")
    base = importlib.import_module("langgraph.checkpoint.base")
    with folder(bench.root) as path:
        connection = sqlite3.connect(path / "graph.db", check_same_thread=False)
        saver = saver_module.SqliteSaver(connection)
        saver.setup()
        config = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        start = time.perf_counter()
        for step in range(steps):
            checkpoint = base.empty_checkpoint()
            checkpoint["channel_values"] = {"text": "x" * 230}
            config = saver.put(config, checkpoint, {"step": step}, {})
        rate = steps / (time.perf_counter() - start)
        connection.close()
        return rate


def dbos_per_s(bench: Bench, steps: int) -> float:
    """One DBOS step with 230 bytes, on its SQLite."""
    dbos = importlib.import_module("dbos")
    logging.disable(logging.INFO)  # It tells of each of its migrations.
    with folder(bench.root) as path:
        dbos.DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}/dbos.db"})

        @dbos.DBOS.step()  # type: ignore[untyped-decorator]
        def work() -> str:
            return "x" * 230

        @dbos.DBOS.workflow()  # type: ignore[untyped-decorator]
        def workflow() -> float:
            start = time.perf_counter()
            for _ in range(steps):
                work()
            return steps / (time.perf_counter() - start)

        dbos.DBOS.launch()
        try:
            return float(workflow())
        finally:
            dbos.DBOS.destroy()


def bench_others(bench: Bench) -> None:
    steps = 100 if bench.is_quick else 500
    for module, name, measure in (
        ("langgraph.checkpoint.sqlite", "LangGraph SqliteSaver.put", langgraph_per_s),
        ("dbos", "DBOS step on SQLite", dbos_per_s),
    ):
        if _is_installed(module):
            bench.add(name, measure(bench, steps), "steps/s")
        else:
            click.echo(f"{name:<64} {'not installed':>14}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


# Size, reading, opening.


def conversation_bytes(bench: Bench, steps: int) -> float:
    """One growing conversation: each step brings 500 bytes of text, half asked, half answered."""

    async def scenario(disk: SqliteDisk) -> float:
        chance = random.Random(1)
        async with opened(disk) as journal:
            parent = 0
            for step in range(steps):
                parts = tuple(message(journal, text(chance, 250)) for _ in range(2))
                parent = await conversation_step(journal, step, parent, parts)
        return float(sum(path.stat().st_size for path in _files(disk.path)))

    return bench.run(scenario)


async def conversation_step(
    journal: Journal, step: int, parent: int, parts: tuple[Part, ...]
) -> int:
    process = ProcessId("prc_01h455vb4pex5vsknk084sn02q")
    digest = journal.args_digest(DEFAULT_TENANT, str(step).encode())
    asked = msgspec.json.encode(
        {
            "kind": "call.entered",
            "incarnation": 1,
            "body": {"type": "infer", "model": "smollm2"},
            "context": {
                "digest": digest.hex(),
                "new": [parts[0].name.hex()],
                "parent_seq": parent,
                "reply": True,
            },
        }
    )
    answered = msgspec.json.encode(
        {
            "kind": "call.returned",
            "done": {
                "type": "completion",
                "choices": [{"finish": "stop"}],
                "usage": {"tokens_in": 1234, "tokens_out": 56},
                "model": "smollm2",
                "facts": {"engine": "local", "queue_s": 0.001, "prefill_s": 0.01, "decode_s": 0.5},
            },
            "messages": [parts[1].name.hex()],
        }
    )
    entered = journal.append(
        msgspec.structs.replace(intent(step, process, parts[:1]), body=asked, args_digest=digest)
    )
    returned = journal.append(
        msgspec.structs.replace(outcome(step, entered.seq, process), body=answered, parts=parts[1:])
    )
    await journal.durable(returned.seq)
    return entered.seq


def text(chance: random.Random, size: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < size + 8:
        words.append(chance.choice(WORDS))
    return " ".join(words)[:size]


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file() and file.name != "reserve"]


async def fill(journal: Journal, events: int) -> None:
    processes = [ProcessId(f"prc_{number:026d}") for number in range(events // 3_000 + 1)]
    for number in range(events):
        draft = intent(number, processes[number // 3_000])
        journal.append(msgspec.structs.replace(draft, body=BODY))
        if number % 5_000 == 0:
            await journal.flush()
    await journal.flush()


def bench_reading(bench: Bench) -> None:
    events = 20_000 if bench.is_quick else 100_000

    async def scenario(disk: SqliteDisk) -> float:
        async with opened(disk) as journal:
            await fill(journal, events)
            replays, rehydrations = [], []
            for _ in range(bench.rounds):
                start, first, read = time.perf_counter(), 1, 0
                while chunk := await journal.read(Seq(first), limit=10_000):
                    first, read = chunk[-1].header.seq + 1, read + len(chunk)
                replays.append(read / (time.perf_counter() - start))
                start = time.perf_counter()
                found = await journal.of_process(ProcessId(f"prc_{1:026d}"))
                rehydrations.append((time.perf_counter() - start) * 1e3)
                assert len(found) == 3_000
        bench.add(
            "replay: read, verify, decrypt", statistics.median(replays), "events/s", ">= 150,000"
        )
        bench.add("one process of 3,000 events", statistics.median(rehydrations), "ms", "< 50")
        start = time.perf_counter()
        assert verify(disk.path).is_whole
        rate = events / (time.perf_counter() - start)
        bench.add("verify offline: chain, bodies, checkpoints, pages", rate, "events/s")
        return 0.0

    bench.run(scenario)


def bench_opening(bench: Bench) -> None:
    """After a kill, with a snapshot 1,000 events before the end: lock, verify, read the tail."""
    events = 100_000 if bench.is_quick else 1_000_000

    async def scenario(disk: SqliteDisk) -> float:
        async with opened(disk) as journal:
            await fill(journal, events - 1_000)
            journal.append(
                Draft(
                    process=KERNEL_PROCESS,
                    kind="kernel.snapshot",
                    body=b'{"kind":"kernel.snapshot","format":1,"state":{}}' + b" " * 200_000,
                    tenant=DEFAULT_TENANT,
                )
            )
            await fill(journal, 1_000)
            # As a kill leaves it: the files while the journal is open.
            shutil.copytree(disk.path, disk.path / "killed")
        times = []
        for _ in range(bench.rounds):
            killed = SqliteDisk(disk.path / "killed")
            start = time.perf_counter()
            async with opened(killed) as journal:
                snapshot = await journal.latest("kernel.snapshot")
                assert snapshot is not None
                assert len(await journal.read(snapshot.header.seq)) > 1_000
                times.append(time.perf_counter() - start)
            killed.close()
        bench.add(f"open {events:,} events with a snapshot", statistics.median(times), "s", "<= 2")
        return 0.0

    bench.run(scenario)


def bench_damage(bench: Bench) -> None:
    copies = 60 if bench.is_quick else 300
    found = dict.fromkeys(Outcome, 0)
    with folder(bench.root) as path:
        whole = made_journal(path / "whole")
        for number in range(copies):
            kind = sorted(DAMAGES)[number % len(DAMAGES)]
            copy = path / str(number)
            shutil.copytree(whole, copy)
            DAMAGES[kind](copy, random.Random(number))
            found[opened_after(copy)] += 1
            shutil.rmtree(copy)
    bench.add("damaged journals that opened whole", found[Outcome.WHOLE], f"of {copies}")
    bench.add("damaged journals that said so", found[Outcome.NOTICED], f"of {copies}")
    bench.add("damaged journals unnoticed", found[Outcome.UNNOTICED], f"of {copies}", "0")


def bench_size(bench: Bench) -> None:
    steps = 1_600
    size = conversation_bytes(bench, steps)
    bench.add("1,600 steps x 500 bytes of one conversation", size / 1e6, "MB", "< 3")
    bench.add("the same, a step", size / steps, "bytes")


@click.command()
@click.option("--quick", is_flag=True, help="One round, small sizes: does it still run?")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Rows go here too.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A real disk.")
def main(quick: bool, json_path: Path | None, root: Path) -> None:
    """Measure the journal; the disk under --root decides much of it."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    click.echo(__doc__)
    click.echo(f"{platform.machine()}, Python {platform.python_version()},", nl=False)
    click.echo(f" SQLite {sqlite3.sqlite_version}, commit {commit}, {time.strftime('%F')}\n")
    bench = Bench(root, rounds=1 if quick else 3, is_quick=quick)
    with folder(root) as path:
        bench.root = path
        for part in (
            bench_steps,
            bench_others,
            bench_size,
            bench_reading,
            bench_opening,
            bench_damage,
        ):
            part(bench)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.encode(bench.results))


if __name__ == "__main__":
    main()
