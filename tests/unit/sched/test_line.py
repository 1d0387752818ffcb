"""Who waits is looked at in order, and nobody is taken out for it."""

import random

from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity
from orlop.sched.history import History
from orlop.sched.line import Line, Tenant
from orlop.sched.ordered import Ordered
from orlop.sched.policy import POLICIES
from orlop.sched.program import Context, Program
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Grant, Used, Work


def a_call(program: str, order: int, context: str = "") -> Work:
    work = Work(process=ProcessId(program), candidates=("gpu",), arrived_s=0.0)
    work.program, work.context, work.order = program, context or program, order
    return work


def a_program(name: str, attained_s: float = 0.0) -> Program:
    program = Program(name, "default", "agent", attained_s=attained_s)
    program.contexts[name] = Context(name, program, there=1)
    return program


def test_items_stand_by_their_last_key_and_equals_in_the_order_of_put() -> None:
    chance = random.Random(5)
    ordered: Ordered[int] = Ordered()
    keys: dict[int, tuple[int, int]] = {}
    for turn in range(500):
        item = chance.randrange(20)
        if chance.random() < 0.3:
            ordered.discard(item)
            keys.pop(item, None)
        else:
            keys[item] = chance.randrange(4), turn
            ordered.put(item, (float(keys[item][0]),))
        expected = sorted(keys, key=lambda one: keys[one])
        assert [found for _, _, found in ordered.first(100)] == expected
        assert len(ordered) == len(keys)


def test_of_programs_calls_none_goes_before_an_older_one() -> None:
    line = Line(0, POLICIES["las"], History(), quantum_s=4.0)
    young, old = a_program("young"), a_program("old", attained_s=100.0)
    lost = Context(
        "lost", old
    )  # It stands further back than the other conversation of its program.
    old.contexts["lost"] = lost
    tenant = Tenant("default")
    calls = [a_call("old", 1, "lost"), a_call("old", 2), a_call("young", 3), a_call("young", 4)]
    for work in calls:
        line.push(work, young if work.program == "young" else old, tenant)

    first = [work.order for _, _, work, _ in line.ahead(10)]

    assert first == [3, 4, 1, 2]
    assert line.count == 4
    assert line.first() is calls[2]


def test_who_has_lost_his_context_while_he_waits_stands_further_back_at_once() -> None:
    line = Line(0, POLICIES["las"], History(), quantum_s=4.0)
    one, other = a_program("one"), a_program("other")
    for order, program in enumerate((one, other)):
        line.push(a_call(program.name, order), program, Tenant("default"))
    one.contexts["one"].lies(0)
    assert [program.name for _, _, _, program in line.ahead(2)] == ["other", "one"]
    one.contexts["one"].lies(5)
    assert [program.name for _, _, _, program in line.ahead(2)] == ["one", "other"]


def test_where_the_first_do_not_fit_a_smaller_one_is_let_on_and_they_stay_in_order() -> None:
    granted: list[str] = []

    def note(work: Work, grant: Grant) -> None:
        granted.append(work.program)

    scheduler = Scheduler(SchedulerConfig(fade_s=1e9))
    scheduler.on_grant = note
    scheduler.attach("gpu", Capacity(slots=8, kv_tokens=10_000))
    works = {
        name: Work(
            process=ProcessId(name),
            candidates=("gpu",),
            arrived_s=0.0,
            program=name,
            input_tokens=tokens,
            output_tokens=1,
        )
        for name, tokens in (("runs", 6_000), ("large", 5_000), ("wide", 4_500), ("small", 1_000))
    }
    for work in works.values():
        scheduler.enter(work, 0.0)
    assert granted == ["runs"]
    # What has left keeps its place, so that the two before the small one still do not fit.
    scheduler.wake(1.0)
    assert granted == ["runs", "small"]
    scheduler.end("runs", 2.0)
    scheduler.leave(works["runs"], 2.0, Used(input_tokens=6_000, output_tokens=1))
    scheduler.wake(3.0)
    assert granted == ["runs", "small", "large"]
