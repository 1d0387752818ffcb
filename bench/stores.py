"""What does a journal cost on PostgreSQL, beside SQLite and beside PostgreSQL alone?

Expected: with one agent the server bounds both, and the anchor's fsync takes a fifth; with many,
our rows (two tables, six indexes) cost the server more than bare ones do, and the one core of the
kernel (seals, chain, JSON) is as long at them as the server.  Two kernels want four cores.  A step
is an intent and an outcome of 230 bytes; it is over when its outcome is durable.  PostgreSQL alone
writes two rows a step of as many bytes as ours have in all their columns, in one table with one
index.  The server is one of the bench's own, on a Unix socket; all arms take turns.  All agents of
an arm wait for the same commit, so nothing of a round goes on beside another part of it: stamping,
server, anchor (one more fdatasync than PostgreSQL alone has) follow one another.
"""

import argparse
import asyncio
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from journals import Disk, PostgresDisk, SqliteDisk, intent, opened, outcome
from msgspec.structs import replace
from postgres_server import postgres

from bench.journal import BODY, agent, step_drafts
from bench.report import Report, begin, finish
from orlop.abi.ids import BootId, JournalId, ProcessId
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock
from orlop.store.keyring import Keyring
from orlop.store.postgres_commit import columns
from orlop.store.rows import Boot, Meta
from orlop.store.seal import Sealer
from orlop.store.stamp import Stamper
from orlop.store.volatile import VolatileTape

AGENTS = 32
RAW = "INSERT INTO {}(seq, body) SELECT * FROM unnest(%s::bigint[], %s::bytea[])"


async def steps_per_s(disk: Disk, agents: int, steps: int) -> float:
    async with opened(disk) as journal:
        await agent(journal, agents, 20, False)
        began_s = time.perf_counter()
        await asyncio.gather(*(agent(journal, number, steps, False) for number in range(agents)))
        return agents * steps / (time.perf_counter() - began_s)


async def raw_per_s(url: str, agents: int, steps: int) -> float:
    """PostgreSQL alone: as many bytes, two rows a step, group commit in one round trip."""
    row = secrets.token_bytes(row_bytes())
    table = f"raw_{secrets.token_hex(4)}"
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(f"CREATE TABLE {table}(seq bigint PRIMARY KEY, body bytea)".encode())
    insert = RAW.format(table).encode()
    queue: list[tuple[int, asyncio.Future[None]]] = []
    wake, loop, seq = asyncio.Event(), asyncio.get_running_loop(), 0

    def commit(numbers: list[int]) -> None:
        with connection.pipeline(), connection.transaction():
            connection.execute(insert, (numbers, [row] * len(numbers)))

    async def committer() -> None:
        nonlocal queue
        while True:
            await wake.wait()
            wake.clear()
            batch, queue = queue, []
            numbers = [number for first, _ in batch for number in (first, first + 1)]
            await loop.run_in_executor(None, commit, numbers)
            for _, done in batch:
                done.set_result(None)

    async def one() -> None:
        nonlocal seq
        for _ in range(steps):
            seq, done = seq + 2, loop.create_future()
            queue.append((seq, done))
            wake.set()
            await done

    working = asyncio.ensure_future(committer())
    began_s = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(agents)))
    took_s = time.perf_counter() - began_s
    working.cancel()
    connection.close()
    return agents * steps / took_s


def row_bytes() -> int:
    """In all columns of an event of ours and of its body, as they go to the server."""
    chance = SystemChance()
    sealer = Sealer(JournalId("jrn_rows"), Keyring.volatile(chance), chance)
    stamper = Stamper(VolatileTape(), sealer, SystemClock(), BootId("bot_rows"), 1, None)
    process = ProcessId(f"prc_{1:026}")
    events = [stamper.stamp(draft) for call in (1, 2) for draft in step_drafts(call, process)]
    # Arrays have heads of their own: what two events more take is what counts.
    one, two = (sum(map(len, columns(events[:count]))) for count in (2, 4))
    return (two - one) // 2


def rows_per_s(url: str, agents: int, steps: int) -> float:
    """PostgreSQL with our tables and indexes: rows that were sealed and chained before, as many a
    commit as `agents` bring.  What is left to the server."""
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as folder:
        disk = PostgresDisk(Path(folder), url, f"rows_{secrets.token_hex(4)}")
        tape, clock = disk.tape(), SystemClock()
        tape.lock()
        tape.create(Meta(JournalId("jrn_rows"), 1))
        tape.write()
        tape.begin(Boot(1, BootId("bot_rows")))
        sealer = Sealer(JournalId("jrn_rows"), Keyring.volatile(disk.chance), disk.chance)
        stamper = Stamper(tape, sealer, clock, BootId("bot_rows"), 1, None)
        entries = []
        for number in range(agents * steps):
            process = ProcessId(f"prc_{number % agents}")
            entered = stamper.stamp(replace(intent(number, process), body=BODY))
            entries.append(entered)
            told = outcome(number, entered.row.seq, process)
            entries.append(stamper.stamp(replace(told, body=BODY)))
        began_s = time.perf_counter()
        for at in range(0, len(entries), 2 * agents):
            tape.commit(entries[at : at + 2 * agents], ())
        took_s = time.perf_counter() - began_s
        tape.close()
    return agents * steps / took_s


def alone(scenario: Callable[[], Awaitable[float]]) -> float:
    async def main() -> float:
        return await scenario()

    return uvloop.run(main())


def on_disk(make: Callable[[Path], SqliteDisk | PostgresDisk], agents: int, steps: int) -> float:
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as folder:
        disk = make(Path(folder) / "home")
        try:
            return alone(lambda: steps_per_s(disk, agents, steps))
        finally:
            disk.close()


def on_server(url: str) -> Callable[[Path], PostgresDisk]:
    return lambda path: PostgresDisk(path, url, f"journal_{secrets.token_hex(4)}")


def several(url: str, kernels: int, steps: int) -> float:
    """Steps a second of so many processes, each with a journal of its own, together."""
    command = [sys.executable, "-m", "bench.stores", "--one", url, "--steps", str(steps)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(kernels)]
    return sum(float(process.communicate()[0]) for process in running)


def measure(report: Report, is_quick: bool) -> None:
    rounds, few, many = (2, 100, 40) if is_quick else (5, 600, 300)
    with postgres() as server:
        url = server.url
        arms: dict[str, Callable[[], float]] = {
            "SQLite, 1 agent": lambda: on_disk(SqliteDisk, 1, few),
            "SQLite, 32 agents": lambda: on_disk(SqliteDisk, AGENTS, many),
            "PostgreSQL alone, 1 agent": lambda: alone(lambda: raw_per_s(url, 1, few)),
            "PostgreSQL alone, 32 agents": lambda: alone(lambda: raw_per_s(url, AGENTS, many)),
            "PostgreSQL, our rows made before, 1 agent": lambda: rows_per_s(url, 1, few),
            "PostgreSQL, our rows made before, 32 agents": lambda: rows_per_s(url, AGENTS, many),
            "PostgreSQL, 1 agent": lambda: on_disk(on_server(url), 1, few),
            "PostgreSQL, 32 agents": lambda: on_disk(on_server(url), AGENTS, many),
            "one kernel in a process": lambda: several(url, 1, many),
            "two kernels, two processes": lambda: several(url, 2, many),
        }
        found: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(rounds):
            for name, arm in arms.items():
                found[name].append(arm())
    medians = {name: report.median(name, each, "steps/s") for name, each in found.items()}
    for crowd in ("1 agent", f"{AGENTS} agents"):
        ratio = medians[f"PostgreSQL, {crowd}"] / medians[f"PostgreSQL alone, {crowd}"]
        report.add(f"journal against raw group commit, {crowd}", ratio, "ratio", ">= 0.8")
        made = medians[f"PostgreSQL, our rows made before, {crowd}"]
        ratio = medians[f"PostgreSQL, {crowd}"] / made
        report.add(f"journal against its own rows, ready made, {crowd}", ratio, "ratio", "")
    ratio = medians["two kernels, two processes"] / medians["one kernel in a process"]
    report.add("two kernels against one", ratio, "ratio", ">= 1.7")


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(on_disk(on_server(given.one), AGENTS, given.steps))
        return
    report = begin(__doc__.splitlines()[0], "journal at 0.8-0.9 of raw group commit")
    measure(report, given.quick)
    finish(report, given.json)


if __name__ == "__main__":
    main()
