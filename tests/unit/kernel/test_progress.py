"""How far a process is, by its own word: kept, shown, and no reason to diverge."""

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Ask, Progress
from orlop.abi.errors import BadCall
from orlop.abi.questions import AnswerOrder
from orlop.kernel import operator, syscall
from orlop.people import answering, asking
from orlop.state.core import Kernel
from orlop.subsystems import lifecycle


def test_the_newest_word_is_shown_also_after_a_crash() -> None:
    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        assert operator.view(first, process.row).progress is None
        for step, share in (("reads", 0.25), ("writes", 0.5)):
            call = Progress(step=step, share=share, waits_for="the printer", ends_s=60)
            await result(syscall.enter(first, process, call))
        said_ns = first.clock.wall_ns()
        await here.crash(first)
        second = await here.boot()
        said = operator.view(second, second.processes[process.id].row).progress
        assert said is not None and (said.step, said.share) == ("writes", 0.5)
        assert said.waits_for == "the printer" and said.ends_ns is not None
        assert abs(said.ends_ns - said_ns - 60 * 10**9) < 10**9
        await here.close(second)

    on(Computer, scenario)


def test_only_the_step_counts_when_a_program_is_resumed() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await result(syscall.enter(kernel, process, Progress(step="reads", ends_s=60)))
        lifecycle.interrupt(kernel, process, "for the test")
        await lifecycle.start(kernel, process, "resume")
        again = await result(syscall.enter(kernel, process, Progress(step="reads", ends_s=5)))
        assert again.facts.replayed

    on(Computer, scenario)


def test_shares_and_times_have_a_range() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        for wrong in (
            Progress(step="x", share=1.5),
            Progress(step="x", ends_s=-1),
            Progress(step="a\nb"),
        ):
            with pytest.raises(BadCall):
                syscall.enter(kernel, process, wrong)

    on(Computer, scenario)


def test_who_waits_for_a_person_is_shown_to_do_so_and_what_that_took() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        running = syscall.enter(kernel, process, Ask(text="which one?"))
        while not (rows := asking.listed(kernel, closed=False)):
            await kernel.clock.sleep(0.1)
        assert operator.view(kernel, process.row).questions == (rows[0].id,)
        order = AnswerOrder(verdict="answer", answer="red", minutes=1.5)
        await answering.answer(kernel, rows[0].id, order)
        await running.ended.wait()
        view = operator.view(kernel, process.row)
        assert view.questions == () and view.human_minutes == 1.5

    on(Computer, scenario)
