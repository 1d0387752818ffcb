"""Memories in bulk, below the door: a journal and its projection, filled with clustered vectors."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import numpy
import numpy.typing

from orlop.abi.ids import Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.memory import Change, MemoryId, MemoryWritten, Recall, Version
from orlop.machine.chance import SystemChance, mint
from orlop.machine.clock import SystemClock
from orlop.machine.offload import ThreadOffload
from orlop.memory.memories import Memories, MemoryConfig, build
from orlop.memory.search import Asked
from orlop.state import codec
from orlop.store.home import Home
from orlop.store.journal import Draft, Journal
from orlop.store.sqlite import SqliteTape

Floats = numpy.typing.NDArray[numpy.float32]

DIMENSIONS = 384
TOP = 10
MODEL = "bench"
PLACE = "bench"
BATCH = 500
AGENT = ProcessId("prc_01h455vb4pex5vsknk084sn02q")


def vectors(rows: int, seed: int = 1) -> Floats:
    """Clustered, each of length 1: 800 clusters in 48 dimensions, turned into 384."""
    chance = numpy.random.default_rng(seed)
    centres = chance.normal(size=(800, 48))
    turn = chance.normal(size=(48, DIMENSIONS))
    points = centres[chance.integers(0, 800, rows)] + 0.35 * chance.normal(size=(rows, 48))
    made = (points @ turn).astype(numpy.float32)
    unit: Floats = made / numpy.linalg.norm(made, axis=1, keepdims=True)
    return unit


def packed(vector: Floats) -> bytes:
    return vector.astype(numpy.float16).tobytes()


@asynccontextmanager
async def shelf(root: Path, config: MemoryConfig) -> AsyncIterator[tuple[Journal, Memories]]:
    """A journal with the projection of its memories, on disk, without a kernel around them."""
    home = Home(root)
    threads = [ThreadOffload("journal"), ThreadOffload("journal-reading")]
    clock, chance = SystemClock(), SystemChance()
    keyring = home.keyring(chance)
    journal = Journal(SqliteTape(home, free_bytes_min=0), keyring, clock, chance, *threads)
    await journal.open("bench", "here", 1)
    memories = build(journal, clock, root / "index", config)
    task = asyncio.create_task(memories.projection.run())
    try:
        yield journal, memories
    finally:
        task.cancel()
        await asyncio.wait([task])
        await memories.projection.close()
        await journal.close()
        for thread in threads:
            thread.close()


def append(journal: Journal, memories: Memories, tenant: TenantId, event: MemoryWritten) -> Seq:
    body = codec.encode(event)
    draft = Draft(process=AGENT, tenant=tenant, kind="memory.written", body=body)
    header = journal.append(draft)
    memories.projection.put(header, body)
    return header.seq


def written(
    ids: list[MemoryId], texts: list[str], data: Floats, version: int, namespace: str = PLACE
) -> MemoryWritten:
    return MemoryWritten(
        namespace=namespace,
        vector_model=MODEL,
        changes=tuple(
            Change(
                memory=id,
                how="new" if version == 1 else "superseded",
                closes=() if version == 1 else (version - 1,),
                opens=(Version(memory=id, version=version, text=text, vector=packed(vector)),),
            )
            for id, text, vector in zip(ids, texts, data, strict=True)
        ),
    )


def ids(count: int) -> list[MemoryId]:
    chance, now = SystemChance(), time.time_ns()
    return [MemoryId(mint("mem", chance, Nanoseconds(now))) for _ in range(count)]


async def filled(
    journal: Journal,
    memories: Memories,
    tenant: TenantId,
    data: Floats,
    first: int,
    namespace: str = PLACE,
) -> list[MemoryId]:
    """All rows of `data` in the tenant's namespace."""
    names = ids(len(data))
    for start in range(0, len(data), BATCH):
        part = slice(start, start + BATCH)
        texts = [f"fact {first + start + number}" for number in range(len(data[part]))]
        seq = append(
            journal, memories, tenant, written(names[part], texts, data[part], 1, namespace)
        )
        await journal.durable(seq)
    return names


def asked(
    tenant: TenantId, vector: Floats, as_of: Seq | None = None, namespace: str = PLACE
) -> Asked:
    return Asked(
        call=Recall(mode="dense", limit=TOP, as_of=as_of),
        tenant=tenant,
        namespaces=(namespace,),
        now_ns=time.time_ns(),
        model=MODEL,
        vector=packed(vector),
    )


async def timed(
    rounds: int, work: Callable[[int], Coroutine[object, object, object]]
) -> list[float]:
    """Milliseconds of each round."""
    times: list[float] = []
    for number in range(rounds):
        began_s = time.perf_counter()
        await work(number)
        times.append((time.perf_counter() - began_s) * 1e3)
    return times


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]
