"""Contexts as files: the same bytes each time, read by any kernel, shorter where that must be."""

from collections.abc import Callable, Coroutine

import pytest
from file_kernel import Desk, FileComputer
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Infer
from orlop.abi.contexts import CompactContext, Context, OpenContext, SaveContext
from orlop.abi.errors import BadCall, NotFound
from orlop.abi.ids import CallId
from orlop.abi.messages import Message, ToolUse
from orlop.abi.replies import Completion
from orlop.context import compaction
from orlop.kernel import syscall
from orlop.state import codec
from orlop.state.core import Kernel

Scenario = Callable[[Desk], Coroutine[object, object, None]]
TALK = (
    Message("system", "be brief"),
    Message("user", "remember: the gate code is 4711"),
    Message("assistant", "noted"),
    Message("user", "what is new?"),
    Message("assistant", None, tool_uses=(ToolUse("use1", "news", "{}"),)),
    Message("tool", "rain", tool_use_id="use1"),
    Message("user", "and tomorrow?"),
)


def at_a_desk(scenario: Scenario) -> None:
    async def whole(_: Computer, kernel: Kernel) -> None:
        await scenario(Desk(kernel, await program(kernel, name="ann")))

    on(FileComputer, whole)


async def asked(desk: Desk) -> CallId:
    done = await desk.do(Infer(model="fake", messages=TALK))
    assert isinstance(done, Completion)
    return done.facts.call


async def context(desk: Desk, call: SaveContext | OpenContext | CompactContext) -> Context:
    done = await desk.do(call)
    assert isinstance(done, Context)
    return done


def test_a_context_is_the_same_bytes_each_time_and_comes_back_whole() -> None:
    async def scenario(desk: Desk) -> None:
        call = await asked(desk)
        first = await context(desk, SaveContext(path="one.ctx", call=call))
        second = await context(desk, SaveContext(path="two.ctx", call=call))
        assert first.pieces == second.pieces
        assert first.messages[:-1] == TALK
        opened = await context(desk, OpenContext(path="one.ctx"))
        assert opened.messages == first.messages
        other = await context(desk, OpenContext(path="one.ctx", model="another"))
        assert other.messages == first.messages
        assert not other.exact
        data = await desk.read("one.ctx")
        await desk.write("carried.ctx", data)
        assert (await context(desk, OpenContext(path="carried.ctx"))).messages == first.messages
        await desk.write("damaged.ctx", data.replace("4711", "4712"))
        with pytest.raises(BadCall, match="damaged"):
            await context(desk, OpenContext(path="damaged.ctx"))
        with pytest.raises(NotFound):
            await context(desk, SaveContext(path="x", call=CallId("cal_none")))
        bob = Desk(desk.kernel, await program(desk.kernel, name="bob"))
        with pytest.raises(NotFound):
            await context(bob, SaveContext(path="x", call=call))

    at_a_desk(scenario)


def test_a_compaction_keeps_what_is_pinned_and_is_an_event() -> None:
    async def scenario(desk: Desk) -> None:
        call = await asked(desk)
        made = await context(
            desk,
            CompactContext(path="short.ctx", call=call, keep_last=1, pins=(1,), summary="rain"),
        )
        texts = [message.text() for message in made.messages]
        assert texts[0] == "be brief"
        assert texts[1] == TALK[1].text()
        assert texts[2].endswith("rain")
        assert len(texts) == 4
        assert made.dropped == 5
        stored = [
            codec.decode(event)
            for event in await desk.kernel.journal.of_process(desk.process.id)
            if event.header.kind == "context.compacted"
        ]
        assert [getattr(event, "kept", None) for event in stored] == [(0, 1, 7)]
        with pytest.raises(BadCall, match="pins"):
            await context(desk, CompactContext(path="x", call=call, pins=(99,)))

    at_a_desk(scenario)


def test_a_model_writes_the_summary_and_is_paid_from_the_callers_budget() -> None:
    async def scenario(desk: Desk) -> None:
        call = await asked(desk)
        before = desk.process.row.calls_metered
        made = await context(desk, CompactContext(path="s.ctx", call=call, keep_last=1))
        assert made.dropped > 0
        assert any("[Summary of" in message.text() for message in made.messages)
        assert desk.process.row.calls_metered == before + 1

    at_a_desk(scenario)


def test_a_replayed_program_gets_the_same_context_again() -> None:
    async def scenario(desk: Desk) -> None:
        call = await asked(desk)
        save = SaveContext(path="one.ctx", call=call)
        first = await result(syscall.enter(desk.kernel, desk.process, save, nonce="n"))
        again = await result(syscall.enter(desk.kernel, desk.process, save, nonce="n", retry=True))
        assert isinstance(first, Context)
        assert isinstance(again, Context)
        assert again.messages == first.messages
        assert again.version == first.version

    at_a_desk(scenario)


def test_a_tools_answer_stays_with_the_message_that_asked() -> None:
    assert compaction.kept(TALK, 2, ()) == [0, 4, 5, 6]
    assert compaction.kept(TALK, 0, (4,)) == [0, 4, 5]
    assert compaction.kept(TALK, 100, ()) == list(range(len(TALK)))
    pinned = (*TALK[:2], Message("user", "keep me", extra={"pinned": True}), *TALK[2:])
    assert compaction.kept(pinned, 0, ()) == [0, 2]
