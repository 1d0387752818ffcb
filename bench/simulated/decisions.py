"""What a scheduling decision costs with many live programs."""

import random
import time

from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity
from orlop.sched.config import SchedulerConfig
from orlop.sched.scheduler import Scheduler
from orlop.sched.work import Grant, Used, Work


def decision_us(programs: int, calls: int) -> float:
    """CPU microseconds of one call's whole way: enter, grant, leave, and what its end lets on.

    So many programs live, two thirds of them waiting for one of 64 seats.
    """
    draw = random.Random(1)
    scheduler = Scheduler(SchedulerConfig(waiting_max=programs))
    granted: list[Work] = []

    def note(work: Work, grant: Grant) -> None:
        granted.append(work)

    scheduler.on_grant = note
    capacity = Capacity(slots=64, kv_tokens=2_000_000, continues=True)
    scheduler.attach("gpu", capacity)
    idle = list(range(programs))
    draw.shuffle(idle)
    now_s = 0.0

    def enter() -> None:
        name = f"p{idle.pop()}"
        work = Work(
            process=ProcessId(name),
            candidates=("gpu",),
            arrived_s=now_s,
            program=name,
            context=name,
            agent="agent",
            input_tokens=draw.randrange(2_000, 30_000),
            output_tokens=250,
        )
        scheduler.enter(work, now_s)

    for _ in range(2 * programs // 3):
        enter()
    began_s = time.process_time()
    for _ in range(calls):
        now_s += 0.05
        work = granted.pop(draw.randrange(len(granted)))
        used = Used(input_tokens=work.input_tokens, output_tokens=250, tool="shell")
        scheduler.leave(work, now_s, used)
        idle.append(int(work.program[1:]))
        position = draw.randrange(len(idle))
        idle[position], idle[-1] = idle[-1], idle[position]
        enter()
        if scheduler.next_s() <= now_s:
            scheduler.wake(now_s)
    return (time.process_time() - began_s) / calls * 1e6
