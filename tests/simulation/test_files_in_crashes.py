"""Files and pipes while kernels crash, in virtual time: what was told is there, nothing twice."""

import asyncio
from dataclasses import dataclass, field
from random import Random

import pytest
from file_kernel import Desk, FileComputer
from simulation_loop import simulate
from small_kernel import program

from orlop.abi.errors import Conflict, KernelError
from orlop.abi.files import Contents, Put, Take
from orlop.abi.ids import DEFAULT_TENANT
from orlop.state.core import Kernel

LIVES = 3
WORKERS = 3


@dataclass(eq=False)
class Told:
    """What callers know, kept where no crash reaches."""

    versions: dict[tuple[str, int], str] = field(default_factory=dict)
    put: set[str] = field(default_factory=set)
    """Messages that are in the pipe for sure."""
    tried: set[str] = field(default_factory=set)
    taken: list[str] = field(default_factory=list)
    is_over: bool = False
    """The kernel is being lost: nobody gets a call in any more."""


async def work(desk: Desk, random: Random, told: Told, name: str) -> None:
    """Until the kernel is gone."""
    for turn in range(10_000):
        if told.is_over:
            return
        path = f"/f/{random.randrange(3)}"
        text = f"{name}.{turn};"
        try:
            match random.randrange(4):
                case 0:
                    version = await desk.write(path, text)
                    told.versions[path, version] = text
                case 1:
                    rows = (await desk.listing(path, what="files")).files
                    known = rows[0].version if rows else 0
                    version = await desk.write(path, text, if_version=known)
                    assert version > known
                    told.versions[path, version] = text
                case 2:
                    told.tried.add(text)
                    await desk.do(Put(pipe="/p", data=text.encode()))
                    told.put.add(text)
                case _:
                    if told.put - set(told.taken):
                        done = await desk.do(Take(pipe="/p"))
                        assert isinstance(done, Contents)
                        told.taken.append(done.files[0].data.decode())
        except Conflict:
            continue
        except KernelError:
            return
        await desk.kernel.clock.sleep(random.random() * 0.01)


async def check(desk: Desk, told: Told) -> None:
    """After a boot."""
    await desk.check()
    for (path, version), text in told.versions.items():
        assert await desk.read(path, version=version) == text
    assert len(told.taken) == len(set(told.taken))
    assert set(told.taken) <= told.tried
    waiting = desk.kernel.tables.files.pipes.get((desk.process.row.tenant, "/p"), ())
    # A message whose taker was lost with the kernel may be gone with its outcome; no other.
    assert len(waiting) + len(told.taken) >= len(told.put) - WORKERS * LIVES


async def lives(random: Random) -> Told:
    here, told = FileComputer(), Told()
    lost: list[Kernel] = []  # Their tasks must not be collected while the loop lives.
    kernel: Kernel = await here.boot()
    await program(kernel, name="ann")
    for life in range(LIVES):
        desk = Desk(kernel, kernel.find("ann", DEFAULT_TENANT))
        await check(desk, told)
        workers = [
            asyncio.ensure_future(work(desk, random, told, f"{life}{number}"))
            for number in range(WORKERS)
        ]
        await here.clock.sleep(0.05 + random.random())
        told.is_over = True
        await here.clock.sleep(0)  # What was entered has begun.
        await here.crash(kernel)
        lost.append(kernel)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        kernel = await here.boot()
        told.is_over = False
    desk = Desk(kernel, kernel.find("ann", DEFAULT_TENANT))
    await check(desk, told)
    await here.close(kernel)
    return told


@pytest.mark.parametrize("seed", range(5))
def test_files_and_pipes_through_crashes(seed: int) -> None:
    told = simulate(seed, lives(Random(seed)))
    assert told.versions, "this seed has tried nothing"


def test_a_seed_takes_messages_too() -> None:
    assert simulate(0, lives(Random(0))).taken
