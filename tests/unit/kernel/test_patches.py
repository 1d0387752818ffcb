"""A program that was changed while a run of it was under way, and prompts that never repeat."""

from small_kernel import Computer, ask, on, program, result

from orlop.abi.calls import Patch
from orlop.abi.replies import Patched
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle


async def patched(kernel: Kernel, process: Process, name: str) -> bool:
    done = await result(syscall.enter(kernel, process, Patch(name=name)))
    assert isinstance(done, Patched)
    return done.applies


async def say(kernel: Kernel, process: Process, *texts: str) -> None:
    for text in texts:
        await result(syscall.enter(kernel, process, ask(text)))


async def again(kernel: Kernel, process: Process) -> None:
    await lifecycle.signal(kernel, process, "kill", "test")
    await lifecycle.ended(kernel, process)
    await lifecycle.start(kernel, process, "resume")


def test_a_change_applies_to_a_run_that_begins_with_it_and_to_all_its_resumes() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        assert await patched(kernel, process, "ask-twice")
        await say(kernel, process, "a", "b")
        for _ in range(2):
            await again(kernel, process)
            assert await patched(kernel, process, "ask-twice")
            await say(kernel, process, "a", "b")
        assert here.engine.computed == 2

    on(Computer, scenario)


def test_a_run_that_began_before_a_change_keeps_to_its_old_path_in_all_its_resumes() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await say(kernel, process, "a", "b")
        for _ in range(2):
            await again(kernel, process)
            assert not await patched(kernel, process, "ask-twice")
            await say(kernel, process, "a", "b")
            assert not await patched(kernel, process, "ask-twice"), "asked again, past the record"
        assert here.engine.computed == 2
        assert not process.row.divergence

    on(Computer, scenario)


def test_a_change_that_comes_after_the_record_has_ended_applies() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await say(kernel, process, "a")
        await again(kernel, process)
        await say(kernel, process, "a")
        assert await patched(kernel, process, "later")
        await say(kernel, process, "b")
        await again(kernel, process)
        await say(kernel, process, "a")
        assert await patched(kernel, process, "later")
        await say(kernel, process, "b")
        assert here.engine.computed == 2

    on(Computer, scenario)


def test_a_prompt_with_todays_date_is_found_in_the_record_where_dates_do_not_count() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, normalize=("dates", "ids"))
        first = "It is 2026-11-21T10:00:00Z. Case 5f0c2a7e-31aa-4a8e-9d55-0a6c2f1d9b3e: hello?"
        await say(kernel, process, first)
        await again(kernel, process)
        second = "It is 2026-11-22T07:31:09Z. Case 00000000-31aa-4a8e-9d55-0a6c2f1d9b3e: hello?"
        await say(kernel, process, second)
        assert here.engine.computed == 1
        await say(kernel, process, second.replace("hello", "goodbye"))
        assert here.engine.computed == 2

    on(Computer, scenario)
