"""Who goes next under each policy, in the core itself: no loop, no clock."""

from collections.abc import Mapping

import pytest

from orlop.abi.errors import Exhausted
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity, EngineLoad
from orlop.devices.speed import Linear
from orlop.sched.check import check
from orlop.sched.policy import PolicyName, level, patience_s
from orlop.sched.program import State
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.view import view
from orlop.sched.work import Grant, Order, Phase, Used, Work

SPEED = Linear(decode_a_s=0.02, prefill_b_s=0.001)
"""A token of an answer takes 20 ms, one of a prompt 1 ms."""

READS_AT_ONCE = Linear(decode_a_s=0.02, prefill_b_s=1e-6)
"""So that nobody waits for a prompt to be read."""


class Desk:
    """A scheduler with one engine `e`, and who was let on, in order."""

    def __init__(self, config: SchedulerConfig, capacity: Capacity | None = None) -> None:
        self.scheduler = Scheduler(config)
        self.scheduler.on_grant = self._granted
        self.scheduler.on_order = lambda order: self.orders.append(order)
        self.scheduler.on_yield = lambda work: self.asked.append(work)
        self.scheduler.attach("e", capacity or Capacity(slots=1, speed=SPEED))
        self.served: list[str] = []
        self.orders: list[Order] = []
        self.asked: list[Work] = []
        self.now_s = 0.0

    def enter(
        self,
        name: str,
        tokens: tuple[int, int] = (100, 10),
        latency_class: LatencyClass = "standard",
        candidates: tuple[str, ...] = ("e",),
        **how: object,
    ) -> Work:
        work = Work(
            process=ProcessId(name),
            candidates=candidates,
            arrived_s=self.now_s,
            latency_class=latency_class,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            **how,  # type: ignore[arg-type]
        )
        self.scheduler.enter(work, self.now_s)
        return work

    def pass_(self, seconds: float) -> None:
        self.now_s += seconds
        if self.scheduler.next_s() <= self.now_s:
            self.scheduler.wake(self.now_s)
        check(self.scheduler, self.now_s)

    def leave(self, work: Work, after_s: float = 1.0, **used: object) -> None:
        self.now_s += after_s
        known = {"input_tokens": work.input_tokens, "output_tokens": work.output_tokens}
        self.scheduler.leave(work, self.now_s, Used(**(known | used)))  # type: ignore[arg-type]
        check(self.scheduler, self.now_s)

    def drain(self, works: Mapping[str, Work]) -> list[str]:
        """Let all run to their end; the order in which they were served."""
        while running := [work for work in works.values() if work.phase is Phase.RUNNING]:
            self.leave(running[0])
        return self.served

    def _granted(self, work: Work, grant: Grant) -> None:
        self.served.append(work.process)


def order(policy: PolicyName, calls: Mapping[str, dict[str, object]]) -> list[str]:
    """Of calls that arrive one after another while the engine is busy."""
    desk = Desk(SchedulerConfig(policy=policy))
    works = {"busy": desk.enter("busy")}
    for name, how in calls.items():
        desk.now_s += 0.01
        works[name] = desk.enter(name, **how)  # type: ignore[arg-type]
    return desk.drain(works)[1:]


BANDS: Mapping[str, dict[str, object]] = {
    "b": {"latency_class": "batch"},
    "s": {"latency_class": "standard"},
    "i": {"latency_class": "interactive"},
}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("programs", "isb"),
        ("fair", "isb"),
        ("priority", "isb"),
        ("deadline", "isb"),
        ("fifo", "bsi"),
        ("las", "bsi"),
    ],
)
def test_bands_are_strict_where_the_policy_has_them(policy: PolicyName, expected: str) -> None:
    assert "".join(order(policy, BANDS)) == expected


def test_the_earliest_deadline_goes_first_under_that_policy() -> None:
    calls: dict[str, dict[str, object]] = {
        "late": {"deadline_s": 90.0},
        "soon": {"deadline_s": 9.0},
    }
    assert order("deadline", calls) == ["soon", "late"]


def test_the_lower_number_goes_first_under_priority() -> None:
    calls: dict[str, dict[str, object]] = {"later": {"priority": 2}, "sooner": {"priority": 1}}
    assert order("priority", calls) == ["sooner", "later"]


def test_who_is_placed_anew_keeps_his_place_in_the_order_of_arrival() -> None:
    desk = Desk(SchedulerConfig(policy="fifo"))
    desk.scheduler.attach("f", Capacity(slots=1, speed=SPEED))
    works = {"e": desk.enter("e"), "f": desk.enter("f", candidates=("f",))}
    for name, candidates in {"a": ("e",), "b": ("e", "f"), "c": ("f",), "d": ("e",)}.items():
        desk.now_s += 0.01
        works[name] = desk.enter(name, candidates=candidates, program="one", context=name)
    for name in "dca":
        desk.scheduler.offer(works[name], ("e", "f"), desk.now_s)
    assert desk.served == ["e", "f"], "no seat has become free"
    assert "".join(desk.drain(works)[2:]) == "abcd"
    desk.scheduler.offer(works["a"], ("e",), desk.now_s)  # It is over.


def test_who_is_placed_anew_is_let_on_at_once_where_a_seat_is_free() -> None:
    desk = Desk(SchedulerConfig())
    desk.scheduler.attach("f", Capacity(slots=1, speed=SPEED))
    works = {name: desk.enter(name) for name in ("first", "second", "third")}
    desk.scheduler.offer(works["third"], ("e", "f"), desk.now_s)
    grant = works["third"].grant
    assert grant is not None and grant.engine == "f"
    check(desk.scheduler, desk.now_s)
    assert works["second"].phase is Phase.WAITING
    desk.drain(works)


@pytest.mark.parametrize("policy", ["programs", "las"])
def test_who_has_had_least_goes_first_but_who_is_there_goes_on_for_a_while(
    policy: PolicyName,
) -> None:
    desk = Desk(SchedulerConfig(policy=policy, quantum_s=1.0))
    desk.leave(desk.enter("old", (100, 100)))
    works = {"busy": desk.enter("busy"), "young": desk.enter("young"), "old": desk.enter("old")}
    assert desk.drain(works)[-2:] == ["old", "young"], "two seconds more are no reason to move"
    desk.leave(desk.enter("old", (200, 1_000)))
    works = {"busy": desk.enter("busy"), "old": desk.enter("old"), "new": desk.enter("new")}
    assert desk.drain(works)[-2:] == ["new", "old"], "twenty are"


def test_calls_in_parallel_count_once_for_their_program() -> None:
    desk = Desk(SchedulerConfig(policy="las"), Capacity(slots=4, speed=SPEED))
    fan = [desk.enter(f"child{n}", (100, 100), program="fan") for n in range(3)]
    for work in fan:
        desk.leave(work)
    program = desk.scheduler.programs.get("fan")
    assert program is not None
    alone_s = 0.1 + 100 * 0.02
    assert program.attained_s == pytest.approx(alone_s)
    assert program.work_s > 1.5 * alone_s


def test_tenants_take_turns_whatever_the_number_of_their_programs() -> None:
    desk = Desk(SchedulerConfig())
    busy = desk.enter("busy", tenant="crowd")
    works = {f"c{n}": desk.enter(f"c{n}", tenant="crowd") for n in range(6)}
    works |= {f"s{n}": desk.enter(f"s{n}", tenant="single") for n in range(3)}
    desk.drain({"busy": busy, **works})
    singles = [desk.served.index(f"s{n}") for n in range(3)]
    assert max(singles) <= 6, f"the single tenant has every other turn: {desk.served}"


def test_a_tenant_of_twice_the_weight_has_twice_the_turns() -> None:
    desk = Desk(SchedulerConfig(weights={"heavy": 2.0}))
    works = {"busy": desk.enter("busy", tenant="other")}
    for n in range(9):
        works[f"h{n}"] = desk.enter(f"h{n}", tenant="heavy")
        works[f"l{n}"] = desk.enter(f"l{n}", tenant="light")
    first = "".join(name[0] for name in desk.drain(works)[1:10])
    assert first.count("h") == pytest.approx(6, abs=1)


def test_forecasts_rule_once_they_rank_well() -> None:
    desk = Desk(SchedulerConfig(quantum_s=0.5))
    for _ in range(8):
        for agent, output in (("short", 50), ("long", 2_000)):
            desk.leave(desk.enter(f"p{desk.now_s}", (100, output), agent=agent))
            desk.scheduler.end(f"p{desk.now_s - 1}", desk.now_s)
    assert desk.scheduler.history.quality > 0.3
    works = {"busy": desk.enter("busy")}
    works["long"] = desk.enter("long", agent="long")
    works["short"] = desk.enter("short", agent="short")
    assert desk.drain(works)[-2:] == ["short", "long"]


def test_prompts_are_let_on_one_by_one_and_who_comes_meanwhile_may_go_before() -> None:
    desk = Desk(SchedulerConfig(policy="priority"), Capacity(slots=4, speed=SPEED))
    works = [desk.enter(f"p{n}", (1_000, 10), priority=-n) for n in range(3)]
    waiting = [work.phase is Phase.WAITING for work in works]
    assert waiting == [False, True, True], "two more prompts would wait in the engine"
    assert 0.9 < desk.scheduler.next_s() < 1.0
    desk.pass_(1.0)
    assert desk.served == ["p0", "p2"], "the order could still be changed"
    desk.pass_(1.0)
    assert desk.served == ["p0", "p2", "p1"], "and the others answer meanwhile"


def test_a_prompt_that_is_read_sooner_than_thought_keeps_nobody_waiting() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=4, speed=SPEED))
    desk.enter("answers", (10, 900))
    desk.pass_(0.1)
    reads = desk.enter("reads", (50_000, 10))
    desk.enter("waits", (10, 10))
    assert desk.served == ["answers", "reads"]
    desk.leave(reads, after_s=0.1, cached_tokens=50_000)
    assert desk.served == ["answers", "reads", "waits"]


@pytest.mark.parametrize(("tokens", "at_once"), [((2_000, 10), 2), ((500, 100), 9), ((0, 99), 16)])
def test_so_many_are_let_on_at_once_as_an_engine_that_reads_one_by_one_can_use(
    tokens: tuple[int, int], at_once: int
) -> None:
    # A token of a prompt takes 1 ms, one of an answer 20: 2 s and 0.2 s, 0.5 and 2, 0 and 2.
    speed = Linear(decode_a_s=0.01, decode_b_s=0.01, prefill_b_s=0.001)
    desk = Desk(SchedulerConfig(), Capacity(slots=16, speed=speed))
    desk.leave(desk.enter("before", tokens), after_s=3.0)
    for number in range(20):
        desk.enter(f"p{number}", tokens)
    for _ in range(40):
        desk.pass_(0.5)
    assert desk.scheduler.stations["e"].gate.running == at_once


@pytest.mark.parametrize(("each_s", "at_once"), [(0.0, 16), (0.0002, 7), (0.002, 2)])
def test_who_holds_nobody_up_is_let_on_beside_any_number_of_answers(
    each_s: float, at_once: int
) -> None:
    # Seven answers make a step of 20 ms by a sixteenth longer where each takes 0.2 ms of it.
    speed = Linear(decode_a_s=0.02 - each_s, decode_b_s=each_s, prefill_b_s=0.001)
    desk = Desk(SchedulerConfig(), Capacity(slots=16, speed=speed))
    desk.leave(desk.enter("before", (2_000, 10)), after_s=3.0)
    for number in range(20):
        desk.enter(f"p{number}", (2_000, 10))
    for _ in range(40):
        desk.pass_(2.5)
    assert desk.scheduler.stations["e"].gate.running == at_once


def test_of_an_engine_of_unknown_speed_nobody_says_when_a_prompt_is_read() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=4))
    works = [desk.enter(f"p{n}", (50_000, 10)) for n in range(4)]
    assert all(work.phase is Phase.RUNNING for work in works)


def test_an_urgent_prompt_waits_for_no_other() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=4, speed=SPEED))
    desk.enter("reads", (50_000, 10))
    assert desk.enter("urgent", (10, 10), "interactive").phase is Phase.RUNNING


def test_of_programs_that_begin_the_one_whose_first_call_takes_least_goes_first() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=1, speed=SPEED))
    running = desk.enter("runs", (10, 10))
    desk.enter("long", (50_000, 10))
    desk.enter("short", (500, 10))
    desk.leave(running, after_s=1.0)
    assert desk.served == ["runs", "short"]


def test_a_batch_call_has_its_turn_among_endless_urgent_ones() -> None:
    desk = Desk(SchedulerConfig(patience_min_s=5.0, patience=1.0))
    running = desk.enter("u0", latency_class="interactive")
    batch = desk.enter("batch", latency_class="batch")
    for number in range(1, 200):
        following = desk.enter(f"u{number % 7}", latency_class="interactive")
        desk.leave(running)
        if batch.phase is Phase.RUNNING:
            break
        running = following
    assert batch.phase is Phase.RUNNING
    assert 5 <= desk.now_s <= 5 + 2 + 16, "when it has waited too long, one grant in 16 is its own"
    assert desk.scheduler.admission.promoted == 1


def test_reserved_seats_wait_for_urgent_calls_only_while_such_calls_come() -> None:
    desk = Desk(SchedulerConfig(reserved=0.5), Capacity(slots=2, speed=SPEED))
    first = desk.enter("b0", latency_class="batch")
    desk.leave(desk.enter("u", latency_class="interactive"))
    waits = desk.enter("b1", latency_class="batch")
    assert waits.phase is Phase.WAITING
    assert desk.enter("u", latency_class="interactive").phase is Phase.RUNNING
    desk.leave(first)
    assert waits.phase is Phase.WAITING or desk.scheduler.load("e")[0] <= 2


def test_who_has_waited_too_long_gets_the_next_seat_and_not_the_one_kept_for_urgent_calls() -> None:
    config = SchedulerConfig(reserved=0.5, patience=1.0, patience_min_s=1.0)
    desk = Desk(config, Capacity(slots=2, speed=SPEED))
    runs = desk.enter("b0", latency_class="batch")
    for _ in range(15):  # The next grant is one of those for who has waited too long.
        desk.leave(desk.enter("u0", latency_class="interactive"))
    waits = desk.enter("b1", latency_class="batch")
    desk.now_s += 30.0
    desk.scheduler.wake(desk.now_s)
    assert waits.phase is Phase.WAITING
    urgent = desk.enter("u1", latency_class="interactive")
    assert urgent.phase is Phase.RUNNING
    desk.leave(urgent)
    desk.leave(runs)
    assert desk.served[-1] == "b1"


def test_an_urgent_call_asks_the_batch_call_with_most_left_for_its_seat_once() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=2, speed=SPEED, continues=True))
    short = desk.enter("short", (100, 100), "batch")
    desk.pass_(0.1)  # Its prompt has been read.
    long = desk.enter("long", (100, 900), "batch")
    urgent = desk.enter("urgent", (10, 10), "interactive")
    desk.enter("another", (10, 10), "interactive")
    assert desk.asked == [long]
    desk.leave(long, preempted=True)
    assert urgent.phase is Phase.RUNNING
    desk.scheduler.enter(long, desk.now_s)
    assert long.phase is Phase.WAITING and short.phase is Phase.RUNNING
    assert long.preemptions == 1


def test_nobody_is_asked_for_a_seat_that_is_free_soon_anyway() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=1, speed=SPEED, continues=True))
    desk.enter("batch", (10, 5), "batch")
    desk.enter("urgent", (10, 10), "interactive")
    assert desk.asked == []


def test_time_slices_go_round_under_rr() -> None:
    config = SchedulerConfig(policy="rr", slice_tokens=50)
    desk = Desk(config, Capacity(slots=1, speed=SPEED, continues=True))
    long = desk.enter("long", (10, 1_000))
    desk.enter("next", (10, 10))
    assert desk.scheduler.next_s() == pytest.approx(1.0)
    desk.now_s = 1.0
    desk.scheduler.wake(desk.now_s)
    assert desk.asked == [long]
    desk.leave(long, 0.0, preempted=True)
    assert desk.served == ["long", "next"]


def test_a_full_waiting_room_and_a_hopeless_deadline_are_refused_with_a_time() -> None:
    desk = Desk(SchedulerConfig(waiting_max=12))
    for number in range(10):
        desk.leave(desk.enter(f"warm{number}"))
    for number in range(11):
        desk.enter(f"p{number}")
    with pytest.raises(Exhausted, match="deadline") as late:
        desk.enter("hurry", deadline_s=desk.now_s + 2.0, is_hard=True)
    assert late.value.retry_after_s is not None and 5 <= late.value.retry_after_s <= 12
    desk.enter("patient", deadline_s=desk.now_s + 2.0)
    desk.enter("last")
    with pytest.raises(Exhausted, match="waiting_max"):
        desk.enter("too many")
    check(desk.scheduler, desk.now_s)


def test_the_engine_that_has_the_context_is_chosen_until_waiting_costs_more() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=1, kv_tokens=50_000, speed=SPEED))
    desk.scheduler.attach("f", Capacity(slots=4, kv_tokens=50_000, speed=SPEED))
    both = ("e", "f")
    first = desk.enter("p", (5_000, 10), candidates=both)
    assert first.grant is not None
    home = first.grant.engine
    desk.leave(first, tool="bash")
    again = desk.enter("p", (5_100, 10), candidates=both)
    assert again.grant is not None and again.grant.engine == home
    assert again.grant.cached_tokens >= 5_000
    desk.leave(again)
    desk.scheduler.detach(home, desk.now_s)
    moved = desk.enter("p", (5_200, 10), candidates=both)
    assert moved.grant is not None and moved.grant.engine != home
    assert moved.grant.cached_tokens == 0


@pytest.mark.parametrize(
    ("capacity", "after_s", "expected"),
    [
        (Capacity(slots=2, speed=SPEED), 400.0, 100),
        (Capacity(slots=2, speed=SPEED, prefix_cache_s=300.0), 200.0, 100),
        (Capacity(slots=2, speed=SPEED, prefix_cache_s=300.0), 400.0, 0),
        (Capacity(slots=2, speed=SPEED, prefix_cache=False), 1.0, 0),
    ],
)
def test_a_context_is_believed_to_lie_where_it_was_for_as_long_as_the_engine_keeps_it(
    capacity: Capacity, after_s: float, expected: int
) -> None:
    desk = Desk(SchedulerConfig(), capacity)
    desk.leave(desk.enter("agent", (90, 10)), after_s=1.0)
    desk.now_s += after_s
    again = desk.enter("agent", (120, 10))
    assert again.grant is not None
    assert again.grant.cached_tokens == expected
    check(desk.scheduler, desk.now_s)


def test_new_programs_wait_while_memory_is_kept_for_those_who_come_back() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=8, kv_tokens=10_000, speed=READS_AT_ONCE))
    desk.leave(desk.enter("away", (8_000, 100)), tool="bash")
    small = desk.enter("small", (1_000, 100))
    new = desk.enter("new", (5_000, 100))
    assert (small.phase, new.phase) == (Phase.RUNNING, Phase.WAITING)
    wake_s = desk.scheduler.next_s()
    assert desk.now_s < wake_s < desk.now_s + 60
    desk.now_s = wake_s
    desk.scheduler.wake(wake_s)
    assert new.phase is Phase.RUNNING, "what is kept fades by half each half minute"


def test_contexts_are_ordered_off_an_engine_that_moves_them_the_smallest_first() -> None:
    capacity = Capacity(
        slots=4,
        kv_tokens=10_000,
        host_tokens=50_000,
        kv_bytes_per_token=1_000,
        restore_bytes_s=1e9,
        speed=SPEED,
        moves_contexts=True,
    )
    desk = Desk(SchedulerConfig(), capacity)
    for name, tokens in (("big", 5_000), ("little", 3_000)):
        desk.leave(desk.enter(name, (tokens, 100)), tool="bash")
    desk.leave(desk.enter("third", (6_000, 100)), tool="bash")
    moved = [one for one in desk.orders if one.action != "keep"]
    assert moved, "there is no room for three on the device"
    assert {one.action for one in moved} == {"save"}, "bringing back is cheaper than computing"
    back = desk.enter(moved[0].context, (6_500, 100))
    assert back.phase is Phase.RUNNING
    desk.leave(back)
    desk.scheduler.end("big", desk.now_s)
    assert desk.orders[-1].action == "drop"


def test_a_lost_engine_loses_contexts_and_nothing_else() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=1, kv_tokens=10_000, speed=SPEED))
    desk.leave(desk.enter("p", (1_000, 100)), tool="bash")
    waits = [desk.enter("holds"), desk.enter("p", (1_200, 100))]
    desk.scheduler.detach("e", desk.now_s)
    desk.leave(waits[0], lost=True)
    assert waits[1].phase is Phase.RUNNING, "nobody else can serve it: its driver says why not"
    assert waits[1].grant is not None and waits[1].grant.cached_tokens == 0


def test_who_is_away_for_long_hibernates_and_is_forgotten_by_the_engine() -> None:
    desk = Desk(SchedulerConfig(hibernate_s=100), Capacity(slots=1, kv_tokens=9_000, speed=SPEED))
    desk.leave(desk.enter("p", (1_000, 100)), tool="bash")
    desk.now_s = desk.scheduler.next_s()
    assert desk.now_s == pytest.approx(101)
    desk.scheduler.wake(desk.now_s)
    shown = view(desk.scheduler, desk.now_s)
    assert shown.states[State.HIBERNATED] == 1
    assert shown.engines[0].resident == 0
    assert shown.programs[0].program == "p"


def test_an_engine_that_queues_or_throws_out_gets_fewer_calls_and_then_more_again() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=8, speed=READS_AT_ONCE))
    works = [desk.enter(f"p{n}") for n in range(16)]
    gate = desk.scheduler.stations["e"].gate
    desk.scheduler.heard("e", EngineLoad(running=8, waiting=5, seen_s=0.0), desk.now_s)
    assert gate.seats == 6
    desk.scheduler.heard("e", EngineLoad(running=8, waiting=5, seen_s=0.0), desk.now_s)
    assert gate.seats == 6, "the first cut has had no time to show"
    desk.scheduler.heard("e", EngineLoad(running=8, waiting=5, seen_s=-60.0), desk.now_s + 9)
    assert gate.seats == 6, "that is no news"
    desk.drain({str(n): work for n, work in enumerate(works)})
    assert gate.seats > 6
    assert len(desk.served) == 16


def test_levels_double_and_patience_shrinks_by_what_was_waited_before() -> None:
    assert [level(s, 1.0) for s in (0.0, 0.9, 1.0, 1.9, 2.0, 4.0, 9.0)] == [0, 0, 1, 1, 2, 3, 4]
    assert patience_s(10.0, 30.0, 5.0, 1.0) == 20.0
    assert patience_s(10.0, 90.0, 5.0, 1.0) == 1.0
    assert patience_s(10.0, 0.0, 0.0, 1.0) == float("inf")


def test_a_lost_engine_does_not_take_what_rested_there_and_elsewhere_in_one_moment() -> None:
    desk = Desk(SchedulerConfig(), Capacity(slots=1, kv_tokens=1_000, speed=SPEED))
    desk.scheduler.attach("f", Capacity(slots=1, kv_tokens=1_000, speed=SPEED))
    desk.leave(desk.enter("agent", (0, 4)), after_s=0.0)
    desk.leave(desk.enter("agent", (0, 1), candidates=("f",)), after_s=0.0)
    desk.scheduler.detach("e", desk.now_s)
    check(desk.scheduler, desk.now_s)


def test_who_could_not_go_on_is_asked_for_his_seat_last() -> None:
    desk = Desk(SchedulerConfig(reserved=0.0), Capacity(slots=2, speed=SPEED, continues=True))
    rigid, supple = (desk.enter(name, (10, 900), "batch") for name in ("rigid", "supple"))
    rigid.goes_on = False
    desk.enter("urgent", latency_class="interactive")
    assert desk.asked == [supple], "the other may have begun to answer, and then he stays"


def test_who_stays_though_he_was_asked_keeps_nobody_else_from_being_asked() -> None:
    desk = Desk(SchedulerConfig(reserved=0.0), Capacity(slots=2, speed=SPEED, continues=True))
    rigid, first = desk.enter("rigid", (10, 900), "batch"), desk.enter("first", (10, 900))
    first.preemptions, rigid.goes_on = 1, False
    urgent = desk.enter("urgent", latency_class="interactive")
    assert desk.asked == [rigid], "there is nobody else"
    desk.leave(first)
    desk.leave(urgent)
    supple = desk.enter("supple", (10, 900), "batch")
    desk.enter("later", latency_class="interactive")
    assert desk.asked == [rigid, supple]
