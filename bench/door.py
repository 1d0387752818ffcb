"""How many calls a second go through the door, and what does one cost?

A zero-time engine, the journal durable on SQLite, 64 callers at once.
"""

import asyncio
import time

import uvloop

from bench.report import Report, begin, finish, flags, kernel
from orlop.abi.calls import Infer, Spawn
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.messages import Message
from orlop.abi.replies import Delta
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.state.core import Kernel, KernelConfig
from orlop.state.process import Process
from orlop.subsystems import lifecycle

CALLERS = 64


def call(number: int) -> Infer:
    return Infer(model="fake", messages=(Message("user", f"step {number}"),))


async def caller(kernel: Kernel, process: Process, calls: int, offset: int) -> None:
    for number in range(calls):
        running = syscall.enter(kernel, process, call(offset + number))
        async for reply in running.replies:
            assert not isinstance(reply, Delta)


async def one_round(
    kernel: Kernel, callers: int, calls: int, name: str = "agent"
) -> tuple[float, float]:
    """Calls a second, and CPU microseconds a call.

    name: of the callers; each call of a nameless one is a conversation, and a program, of its own.
    """
    processes = []
    for _ in range(callers):
        spawn = Spawn(command=(), name=name)
        process = await lifecycle.create(kernel, spawn, DEFAULT_TENANT)
        await lifecycle.start(kernel, process, "first")
        processes.append(process)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for number, process in enumerate(processes):
            tasks.create_task(caller(kernel, process, calls, number * calls))
    total = callers * calls
    return total / (time.perf_counter() - began_s), (time.process_time() - cpu_s) / total * 1e6


async def measure(report: Report, quick: bool) -> None:
    rounds, calls = (3, 60) if quick else (5, 300)
    for mode in ("paid", "always"):
        config = KernelConfig(await_intents="paid" if mode == "paid" else "always")
        async with kernel(FakeConfig(slots=CALLERS, tokens=1), config) as built:
            await one_round(built, CALLERS, 20)
            found = [await one_round(built, CALLERS, calls) for _ in range(rounds)]
            alone = [await one_round(built, 1, calls) for _ in range(rounds)]
            nameless = [await one_round(built, CALLERS, calls, "") for _ in range(rounds)]
        awaited = "intent awaited" if mode == "always" else "intent with its outcome"
        goals = ("≥ 5,000", "≤ 200") if mode == "paid" else ("", "")
        report.median(
            f"{CALLERS} callers, {awaited}", [rate for rate, _ in found], "calls/s", goals[0]
        )
        report.median(
            f"{CALLERS} callers, {awaited}, CPU", [cpu for _, cpu in found], "µs/call", goals[1]
        )
        report.median(f"1 caller, {awaited}", [rate for rate, _ in alone], "calls/s")
        report.median(
            f"{CALLERS} nameless callers, {awaited}, CPU", [cpu for _, cpu in nameless], "µs/call"
        )


def main() -> None:
    assert __doc__
    given = flags(__doc__)
    report = begin(__doc__.splitlines()[0], "5,000 calls/s, 150-200 µs of CPU each")
    uvloop.run(measure(report, given.quick))
    finish(report, given.json)


if __name__ == "__main__":
    main()
