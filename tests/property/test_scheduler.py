"""Any sequence of calls, losses and pauses keeps the scheduler's books, and everybody is served."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from orlop.abi.errors import Exhausted
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity, EngineLoad, Holdings
from orlop.devices.speed import Linear
from orlop.sched.check import check
from orlop.sched.policy import POLICIES, PolicyName
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Grant, Order, Phase, Used, Work

SPEED = Linear(decode_a_s=0.02, decode_b_s=0.001, prefill_b_s=0.0005)
SMALL = Capacity(slots=2, kv_tokens=3_000, speed=SPEED, continues=True, moves_contexts=True)
HOSTED = Capacity(
    slots=3,
    kv_tokens=2_000,
    host_tokens=4_000,
    kv_bytes_per_token=1_000,
    restore_bytes_s=1e9,
    speed=SPEED,
)
PLAIN = Capacity(slots=1)
CAPACITIES = {"small": SMALL, "hosted": HOSTED, "plain": PLAIN}
CANDIDATES = (("small",), ("hosted",), ("plain",), ("hosted", "small"), ("plain", "small"))
CLASSES: tuple[LatencyClass, ...] = ("interactive", "standard", "batch")


class Machine(RuleBasedStateMachine):
    policy: PolicyName = "programs"

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(
            SchedulerConfig(policy=self.policy, waiting_max=12, hibernate_s=90, reserved=0.3)
        )
        self.scheduler.on_grant = self._granted
        self.scheduler.on_order = self._order
        self.scheduler.on_yield = lambda work: self.asked.append(work)
        for name, capacity in CAPACITIES.items():
            self.scheduler.attach(name, capacity)
        self.now_s = 0.0
        self.live: list[Work] = []
        self.granted: list[Work] = []
        self.asked: list[Work] = []

    def _order(self, order: Order) -> None:
        assert self.scheduler.stations[order.engine].capacity.moves_contexts

    def _granted(self, work: Work, grant: Grant) -> None:
        assert work not in self.granted, "a call is let on once"
        assert grant.engine in work.candidates
        gate = self.scheduler.stations[grant.engine].gate
        assert gate.running <= gate.seats <= self.scheduler.stations[grant.engine].capacity.slots
        self.granted.append(work)

    @rule(
        program=st.integers(0, 6),
        thread=st.integers(0, 1),
        candidates=st.sampled_from(CANDIDATES),
        latency_class=st.sampled_from(CLASSES),
        tokens=st.tuples(st.integers(0, 2_500), st.integers(0, 400)),
        deadline_s=st.sampled_from([0.5, 30.0, 600.0]),
        is_hard=st.booleans(),
        head_tokens=st.integers(0, 600),
    )
    def enter(
        self,
        program: int,
        thread: int,
        candidates: tuple[str, ...],
        latency_class: LatencyClass,
        tokens: tuple[int, int],
        deadline_s: float,
        is_hard: bool,
        head_tokens: int,
    ) -> None:
        work = Work(
            process=ProcessId(f"p{program}.{thread}"),
            candidates=candidates,
            arrived_s=self.now_s,
            latency_class=latency_class,
            program=f"p{program}",
            tenant=f"t{program % 2}",
            agent=f"a{program % 3}",
            deadline_s=self.now_s + deadline_s,
            is_hard=is_hard,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            head=program % 3,
            head_tokens=min(head_tokens, tokens[0]),
        )
        before = len(self.scheduler.waiting)
        try:
            self.scheduler.enter(work, self.now_s)
        except Exhausted as refused:
            assert refused.retry_after_s is not None and refused.retry_after_s >= 1
            assert len(self.scheduler.waiting) == before
            return
        self.live.append(work)

    @rule(
        name=st.sampled_from(sorted(CAPACITIES)),
        lies=st.dictionaries(
            st.sampled_from([f"p{program}.0" for program in range(7)]),
            st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)),
        ),
        is_whole=st.booleans(),
        is_cleared=st.booleans(),
    )
    def told(
        self, name: str, lies: dict[str, tuple[int, int]], is_whole: bool, is_cleared: bool
    ) -> None:
        """The engine says what it holds, true or not."""
        contexts = {one: (device, max(device, more)) for one, (device, more) in lies.items()}
        holdings = Holdings(is_whole=is_whole, is_cleared=is_cleared, contexts=contexts)
        self.scheduler.told(name, holdings, self.now_s)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0), cached=st.floats(0, 1), lost=st.booleans())
    def leave(self, which: int, cached: float, lost: bool) -> None:
        """Done, cancelled in the queue, or failed."""
        work = self.live.pop(which % len(self.live))
        used = Used(
            input_tokens=work.input_tokens,
            cached_tokens=int(cached * work.input_tokens),
            output_tokens=work.output_tokens // 2,
            tool="bash" if which % 2 else "",
            lost=lost,
        )
        self._leave(work, used)

    @precondition(lambda self: self.asked)
    @rule()
    def give_way(self) -> None:
        work = self.asked.pop()
        if work in self.granted and work in self.live:
            self._leave(work, Used(input_tokens=work.input_tokens, preempted=True))
            work.arrived_s = self.now_s
            try:
                self.scheduler.enter(work, self.now_s)
            except Exhausted:
                self.live.remove(work)

    @rule(delay_s=st.sampled_from([0.01, 1.0, 20.0, 100.0, 400.0]))
    def time_passes(self, delay_s: float) -> None:
        """With the one timer that a driver keeps."""
        until_s = self.now_s + delay_s
        for _ in range(1_000):
            next_s = self.scheduler.next_s()
            if next_s > until_s:
                break
            self.now_s = max(self.now_s, next_s)
            self.scheduler.wake(self.now_s)
        else:
            raise AssertionError("the timer rings for ever")
        self.now_s = until_s

    @rule(program=st.integers(0, 6))
    def end(self, program: int) -> None:
        self.scheduler.end(f"p{program}", self.now_s)

    @rule(name=st.sampled_from(sorted(CAPACITIES)), back=st.booleans(), slots=st.integers(0, 2))
    def lose_or_find(self, name: str, back: bool, slots: int) -> None:
        if back:
            capacity = CAPACITIES[name]
            self.scheduler.attach(name, replace(capacity, slots=capacity.slots + slots))
            self.time_passes(0.01)
        else:
            self.scheduler.detach(name, self.now_s)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0), candidates=st.sampled_from(CANDIDATES))
    def offer(self, which: int, candidates: tuple[str, ...]) -> None:
        """A model has been loaded, an engine has come or gone."""
        work = self.live[which % len(self.live)]
        was_waiting, before = work.phase is Phase.WAITING, work.candidates
        waited = len(self.scheduler.waiting)
        self.scheduler.offer(work, candidates, self.now_s)
        if not was_waiting:
            assert work.candidates == before
        elif work.phase is Phase.WAITING:
            assert work.candidates in (before, candidates)
            assert len(self.scheduler.waiting) <= waited

    @rule(name=st.sampled_from(sorted(CAPACITIES)), waiting=st.integers(0, 9), old=st.booleans())
    def hear(self, name: str, waiting: int, old: bool) -> None:
        seen_s = self.now_s - (100 if old else 0)
        load = EngineLoad(running=1, waiting=waiting, preemptions=waiting, seen_s=seen_s)
        self.scheduler.heard(name, load, self.now_s)
        assert self.scheduler.stations[name].gate.seats >= 1

    @invariant()
    def the_books_are_right(self) -> None:
        check(self.scheduler, self.now_s)

    def teardown(self) -> None:
        """Whoever still waits is served as those before him leave, in bounded time."""
        for _ in range(10 * len(self.live) + 10):
            running = [work for work in self.live if work.phase is Phase.RUNNING]
            if running:
                self.live.remove(running[0])
                self._leave(running[0], Used())
            else:
                break
            self.time_passes(1.0)
        assert not self.live, f"{len(self.live)} calls are never served"

    def _leave(self, work: Work, used: Used) -> None:
        if work in self.granted:
            self.granted.remove(work)
        self.scheduler.leave(work, self.now_s, used)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_whatever_happens_the_books_are_right_and_all_are_served(policy: PolicyName) -> None:
    class Policed(Machine):
        pass

    Policed.policy = policy
    bounds = settings(max_examples=8, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(Policed, settings=bounds)
