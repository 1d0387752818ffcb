"""One behaviour of the whole kernel a test, in virtual time: resume, replay, signals, budgets."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest
from simulation_loop import simulate
from small_kernel import Computer, ask, on, program, result, state

from orlop.abi.calls import Budget, Infer, Sampling, Sleep
from orlop.abi.errors import BudgetSpent, Diverged, Killed
from orlop.abi.events import CallFailed, CallReturned
from orlop.abi.ids import CallId
from orlop.abi.replies import Completion, Delta
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle

SLOW = FakeConfig(decode_s=0.1)


async def told(kernel: Kernel, process: Process, texts: Sequence[str]) -> list[str]:
    """Calls made at once, in this order; what each was answered."""
    calls = [syscall.enter(kernel, process, ask(text)) for text in texts]
    answers = []
    for call in calls:
        done = await result(call)
        assert isinstance(done, Completion)
        answers.append(f"{done.facts.call} {done.text()}")
    return answers


async def in_turn(kernel: Kernel, process: Process, texts: Sequence[str]) -> list[str]:
    """One call after another."""
    return [answer for text in texts for answer in await told(kernel, process, [text])]


async def killed(here: Computer, process: Process) -> None:
    """Its program is gone without a word."""
    here.machine.kill_shim(here.machine.programs[process.row.os_pid or 0])
    await state(process, "interrupted")


def test_concurrent_calls_are_answered_from_the_record_in_any_order() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        texts = ["one", "two", "three", "two"]
        first = await told(kernel, process, texts)
        await killed(here, process)
        await lifecycle.start(kernel, process, "resume")
        again = await told(kernel, process, ["three", "two", "one", "two"])
        assert again == [first[2], first[1], first[0], first[3]]
        assert here.engine.computed == 4
        assert process.calls_replayed == 4
        await told(kernel, process, ["four"])
        assert here.engine.computed == 5

    on(Computer, scenario)


def test_one_branch_may_be_past_its_record_while_another_follows_it() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        first = await told(kernel, process, ["one", "two"])
        await killed(here, process)
        await lifecycle.start(kernel, process, "resume")
        late = syscall.enter(kernel, process, ask("new"))
        await asyncio.sleep(1)
        assert await told(kernel, process, ["one"]) == first[:1]
        await asyncio.sleep(1)
        assert await told(kernel, process, ["two"]) == first[1:]
        await result(late)
        assert here.engine.computed == 3

    on(Computer, scenario)


def test_a_program_that_leaves_its_record_is_stopped_and_told_where() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await in_turn(kernel, process, ["one", "two"])
        await killed(here, process)
        await lifecycle.start(kernel, process, "resume")
        with pytest.raises(Diverged) as left:
            await result(syscall.enter(kernel, process, ask("another one")))
        assert '-      "content": "one"' in left.value.message
        assert '+      "content": "another one"' in left.value.message
        await lifecycle.ended(kernel, process)
        assert process.row.divergence
        assert here.engine.computed == 2

    on(Computer, scenario)


def test_a_program_that_may_leave_its_record_goes_on_live_and_keeps_to_the_new_path() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, on_divergence="continue")
        await in_turn(kernel, process, ["one", "two"])
        await killed(here, process)
        await lifecycle.start(kernel, process, "resume")
        another = await in_turn(kernel, process, ["another one", "two"])
        assert here.engine.computed == 4
        await killed(here, process)
        await lifecycle.start(kernel, process, "resume")
        assert await in_turn(kernel, process, ["another one", "two"]) == another
        assert here.engine.computed == 4

    on(Computer, scenario)


@pytest.mark.parametrize("strict", [False, True])
def test_a_replay_computes_nothing_and_a_strict_one_keeps_the_order(strict: bool) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        first = await in_turn(kernel, process, ["one", "two"])
        await lifecycle.signal(kernel, process, "kill", "test")
        await lifecycle.ended(kernel, process)
        await lifecycle.start(kernel, process, "replay", strict=strict)
        if strict:
            with pytest.raises(Diverged):
                await in_turn(kernel, process, ["two"])
        else:
            assert await in_turn(kernel, process, ["two", "one"]) == [first[1], first[0]]
            with pytest.raises(Diverged, match="nothing more"):
                await in_turn(kernel, process, ["three"])
        assert here.engine.computed == 2

    on(Computer, scenario)


def test_a_replayed_stream_comes_in_its_recorded_pieces() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        first = [reply async for reply in syscall.enter(kernel, process, streamed("hi")).replies]
        await killed(here, process)
        await lifecycle.start(kernel, process, "resume")
        again = [reply async for reply in syscall.enter(kernel, process, streamed("hi")).replies]
        assert [r for r in again if isinstance(r, Delta)] == first[:-1]
        assert len(first) > 5

    on(Computer, scenario)


def streamed(text: str) -> Infer:
    return ask(text, stream=True)


def test_a_sleep_goes_on_across_a_crash_and_is_not_slept_twice() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        syscall.enter(kernel, process, Sleep(seconds=100.0), nonce="n")
        await asyncio.sleep(60)
        await kernel.journal.flush()  # As it is before its client is told that it is parked.
        await here.crash(kernel)
        await asyncio.sleep(10)
        later = await here.boot()
        began_s = here.clock.now_s()
        survivor = later.get(process.id)
        await result(syscall.enter(later, survivor, Sleep(seconds=100.0), retry=True, nonce="n"))
        assert 29 < here.clock.now_s() - began_s < 31
        await here.close(later)

    on_crashing(scenario)


def on_crashing(scenario: Callable[[Computer, Kernel], Coroutine[object, object, None]]) -> None:
    """The scenario shuts its last kernel down itself."""

    async def whole() -> None:
        here = Computer()
        await scenario(here, await here.boot())

    simulate(1, whole())


def test_calls_of_a_stopped_process_wait_at_the_door() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await lifecycle.signal(kernel, process, "stop", "test")
        call = syscall.enter(kernel, process, ask("hello"))
        await asyncio.sleep(1000)
        assert here.engine.computed == 0 and call.seq == 0
        await lifecycle.signal(kernel, process, "cont", "test")
        await result(call)
        assert here.engine.computed == 1

    on(Computer, scenario)


def test_a_kill_ends_a_stream_in_the_middle_and_the_journal_says_so() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        call = syscall.enter(kernel, process, streamed("hello"))
        await asyncio.sleep(0.35)
        await lifecycle.signal(kernel, process, "kill", "enough")
        pieces = []
        with pytest.raises(Killed, match="ended"):
            async for reply in call.replies:
                pieces.append(reply)
        assert 0 < len(pieces) < 12
        assert here.engine.computed == 0 and here.engine.running == 0
        assert isinstance(await outcome_of(kernel, call.id), CallFailed)

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_a_client_that_leaves_cancels_its_call_and_frees_its_slot() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        call = syscall.enter(kernel, process, ask("hello"))
        waiting = syscall.enter(kernel, process, ask("next"))
        await asyncio.sleep(0.35)
        call.leave()
        await call.ended.wait()
        assert isinstance(await outcome_of(kernel, call.id), CallFailed)
        await result(waiting)
        assert isinstance(await outcome_of(kernel, waiting.id), CallReturned)
        assert here.engine.computed == 1

    on(lambda: Computer(engine_config=FakeConfig(decode_s=0.1, slots=1)), scenario)


def test_a_client_that_leaves_before_the_first_step_leaves_nothing_behind() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        call = syscall.enter(kernel, process, ask("hello"))
        call.leave()
        await call.ended.wait()
        assert not process.running and kernel.calls_in_flight == 0
        assert here.engine.computed == 0

    for seed in range(5):
        on(Computer, scenario, seed)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_each_of_several_answers_counts_against_the_budget(n: int) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(tokens=2_000))
        call = ask("hello", sampling=Sampling(n=n), output_tokens_max=10)
        spent = 0
        with pytest.raises(BudgetSpent):
            while True:
                done = await result(syscall.enter(kernel, process, call))
                assert isinstance(done, Completion) and len(done.choices) == n
                spent += done.usage.input_tokens + done.usage.output_tokens
        account = kernel.accounts(process)[0]
        assert account.used.tokens == spent <= 2_000
        assert account.held.tokens == 0

    on(Computer, scenario)


async def outcome_of(kernel: Kernel, call: str) -> object:
    await kernel.journal.flush()
    return codec.decode((await kernel.journal.of_call(CallId(call)))[-1])
