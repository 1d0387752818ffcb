"""When a seat will be free, as far as is known."""

import pytest

from orlop.abi.errors import Exhausted, TooLittleTime
from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.sched.forecast import EVIDENCE, seat_s
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Phase, Used, Work

SPEED = Linear(decode_a_s=0.02, prefill_b_s=0.0001)
"""200 tokens: 4 s, whoever else runs."""


def work(at_s: float, tokens: int, *, told: bool = True, deadline_s: float = 1e9) -> Work:
    return Work(
        process=ProcessId("prc_1"),
        candidates=("e",),
        arrived_s=at_s,
        output_tokens=tokens,
        least_tokens=tokens if told else tokens // 2,
        deadline_s=at_s + deadline_s,
        is_hard=deadline_s < 1e9,
    )


def experienced(seats: int) -> Scheduler:
    """Its engine has served calls of 200 tokens, 4 s each."""
    scheduler = Scheduler(SchedulerConfig())
    scheduler.attach("e", Capacity(slots=seats, speed=SPEED))
    for number in range(10 * EVIDENCE):
        one = work(-10.0, 200)
        scheduler.enter(one, -10.0 + number / 1e6)
        scheduler.leave(one, one.granted_s + 4.0, Used(output_tokens=200))
    return scheduler


def running(scheduler: Scheduler, *works: Work) -> None:
    for one in works:
        scheduler.enter(one, one.arrived_s)
        assert one.phase is Phase.RUNNING


def test_of_calls_that_came_at_once_the_first_seat_is_free_when_they_end() -> None:
    scheduler = experienced(4)
    running(scheduler, *(work(400.0, 200) for _ in range(4)))
    station = scheduler.stations["e"]
    assert seat_s(station, 0, 400.0) == pytest.approx(4.0, rel=0.05)
    assert seat_s(station, 3, 400.0) == pytest.approx(4.0, rel=0.05)
    assert seat_s(station, 0, 403.0) == pytest.approx(1.0, rel=0.1)
    assert seat_s(station, 4, 400.0) > 4.5, "the second round has hardly begun"


def test_of_calls_whose_length_nobody_has_told_one_or_another_ends_at_any_time() -> None:
    scheduler = experienced(4)
    running(scheduler, *(work(400.0, 200, told=False) for _ in range(4)))
    station = scheduler.stations["e"]
    assert seat_s(station, 0, 400.0) == pytest.approx(1.0, rel=0.1)
    assert seat_s(station, 3, 400.0) == pytest.approx(4.0, rel=0.1)


def test_a_short_call_among_long_ones_frees_its_seat_first() -> None:
    scheduler = experienced(2)
    running(scheduler, work(400.0, 10), work(400.0, 2_000))
    station = scheduler.stations["e"]
    assert seat_s(station, 0, 400.0) == pytest.approx(0.2, rel=0.1)
    assert seat_s(station, 0, 400.0) < seat_s(station, 1, 400.0) < 40.0


def test_a_free_seat_is_no_wait() -> None:
    scheduler = experienced(2)
    running(scheduler, work(400.0, 200))
    assert seat_s(scheduler.stations["e"], 0, 400.0) == 0.0


def test_who_could_only_be_answered_after_the_others_is_told_so_at_once() -> None:
    scheduler = experienced(4)
    running(scheduler, *(work(400.0, 200) for _ in range(4)))
    with pytest.raises(Exhausted, match="would end in") as refused:
        scheduler.enter(work(400.0, 200, deadline_s=6.0), 400.0)
    assert refused.value.retry_after_s == pytest.approx(4.0, rel=0.05)
    scheduler.enter(work(400.0, 200, deadline_s=9.0), 400.0)


def test_who_could_not_be_answered_in_time_by_an_idle_engine_is_not_told_to_come_back() -> None:
    scheduler = experienced(4)
    running(scheduler, *(work(400.0, 200) for _ in range(4)))
    with pytest.raises(TooLittleTime, match="an idle engine would be too late, too") as refused:
        scheduler.enter(work(400.0, 2_000, deadline_s=6.0), 400.0)
    assert refused.value.retry_after_s is None
