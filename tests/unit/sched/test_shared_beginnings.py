"""What programs have in common counts once: in the budget, on the device, among those that run."""

from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.sched.check import check
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Phase, Used, Work

SPEED = Linear(decode_a_s=0.02, prefill_b_s=0.001)
READS_AT_ONCE = Linear(decode_a_s=0.02, prefill_b_s=1e-6)
COMMON, OWN = 1_000, 100


def engine(**how: object) -> Scheduler:
    scheduler = Scheduler(SchedulerConfig())
    known: dict[str, object] = {"slots": 32, "kv_tokens": 3_000, "speed": SPEED}
    scheduler.attach("e", Capacity(**(known | how)))  # type: ignore[arg-type]
    return scheduler


def enter(
    scheduler: Scheduler,
    name: str,
    head: int = 7,
    engines: tuple[str, ...] = ("e",),
    now_s: float = 0.0,
) -> Work:
    work = Work(
        process=ProcessId(name),
        candidates=engines,
        arrived_s=now_s,
        input_tokens=COMMON + OWN,
        output_tokens=10,
        head=head,
        head_tokens=COMMON if head else 0,
    )
    scheduler.enter(work, now_s)
    check(scheduler, now_s)
    return work


def runs(works: list[Work]) -> int:
    return sum(work.phase is Phase.RUNNING for work in works)


def test_twelve_programs_with_one_system_prompt_run_where_two_would_fit_without() -> None:
    alone, together = engine(speed=READS_AT_ONCE), engine(speed=READS_AT_ONCE)
    assert runs([enter(alone, f"p{n}", head=0) for n in range(12)]) == 2
    assert runs([enter(together, f"p{n}") for n in range(12)]) == 12


def test_an_engine_that_keeps_no_prefixes_shares_none() -> None:
    scheduler = engine(prefix_cache=False, speed=READS_AT_ONCE)
    assert runs([enter(scheduler, f"p{n}") for n in range(12)]) == 2


def test_what_lies_there_and_what_is_retained_count_the_beginning_once_and_lose_it_last() -> None:
    scheduler = engine()
    works = [enter(scheduler, f"p{n}") for n in range(4)]
    for work in works:
        scheduler.leave(work, 1.0, Used(input_tokens=COMMON + OWN, output_tokens=10, tool="t"))
        check(scheduler, 1.0)
    shelf = scheduler.stations["e"].shelf
    assert shelf.device_tokens == round(shelf.retained(1.0)) == COMMON + 4 * (OWN + 10)
    for left in (3, 2, 1, 0):
        scheduler.end(f"p{left}", 1.0)
        check(scheduler, 1.0)
        assert shelf.device_tokens == (COMMON + left * (OWN + 10) if left else 0)
    assert shelf.retained(1.0) == 0


def test_the_beginning_fades_from_when_the_last_of_them_has_gone_to_rest() -> None:
    scheduler = engine()
    first, second = enter(scheduler, "p0"), enter(scheduler, "p1")
    used = Used(input_tokens=COMMON + OWN, output_tokens=10, tool="t")
    fade_s = SchedulerConfig().fade_s
    scheduler.leave(first, 0.0, used)
    scheduler.leave(second, fade_s, used)
    shelf = scheduler.stations["e"].shelf
    counted = COMMON + (OWN + 10) + (OWN + 10) / 2
    assert round(shelf.retained(fade_s)) == round(counted)
    assert round(shelf.retained(2 * fade_s)) == round(counted / 2)
    check(scheduler, 2 * fade_s)


def test_a_new_program_goes_where_its_system_prompt_lies() -> None:
    scheduler = engine()
    scheduler.attach("f", Capacity(slots=32, kv_tokens=3_000, speed=SPEED))
    warm = enter(scheduler, "p0", engines=("f",))
    scheduler.leave(warm, 1.0, Used(input_tokens=COMMON + OWN, output_tokens=10))
    new = enter(scheduler, "p1", engines=("e", "f"), now_s=1.0)
    assert new.grant is not None
    assert (new.grant.engine, new.grant.cached_tokens) == ("f", COMMON)
