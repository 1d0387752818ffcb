"""An answer that is cut anywhere, by anybody, comes out as if never cut: a host made of lists."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.calls import Infer
from orlop.abi.hints import LatencyClass, Usage
from orlop.abi.ids import ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Choice, Delta, Generated
from orlop.devices.device import Partial, Preempted, Sink, Turn
from orlop.devices.llamacpp_contexts import Place
from orlop.devices.llamacpp_slots import Held
from orlop.devices.llamacpp_turns import Feed, Job, Runner
from orlop.machine.clock import SystemClock

MODEL = ModelName("m")
PROMPT = (900, 901, 902)
VOCABULARY: Sequence[bytes] = (
    b"a", b" b", b"ab", b" ", b"\n\n", b".", "日".encode()[:1], "日".encode()[1:],
    "😀".encode()[:2], "😀".encode()[2:], b" cd", b"c", b".\n\n",
)  # fmt: skip
WHOLE = (0, 1, 2, 4, 5, 10, 11, 12)
PAIRS = ((6, 7), (8, 9))
ANSWERS = st.lists(st.sampled_from([*((one,) for one in WHOLE), *PAIRS, (3, 0)]), min_size=1).map(
    lambda groups: tuple(int(token) for group in groups for token in group)[:24]
)
CUTS = st.lists(st.integers(0, 6), max_size=4)


def spoken(tokens: Sequence[int]) -> str:
    """A character that is not whole yet is shown as the host shows it."""
    return b"".join(VOCABULARY[token] for token in tokens).decode(errors="replace")


def told(tokens: Sequence[int], *, holds_spaces: bool) -> str:
    """What a stream has told after these tokens: nothing half, perhaps no space before its word."""
    data = b"".join(VOCABULARY[token] for token in tokens)
    while data:
        try:
            text = data.decode()
            break
        except UnicodeDecodeError:
            data = data[:-1]
    else:
        return ""
    return text.rstrip() if holds_spaces else text


async def a_step() -> None:
    """Long enough for whoever watches the answer to stop it before the next."""
    for _ in range(12):
        await asyncio.sleep(0)


@dataclass
class Host:
    """It answers every prompt alike, and goes on where a prompt ends within its answer."""

    answer: tuple[int, ...]
    holds_spaces: bool = False
    slot: tuple[int, ...] = ()
    sent: int = 0

    async def infer(
        self, call: Infer, model: ModelName, sink: Sink | None, deadline_s: float
    ) -> Generated:
        assert sink is not None
        self.sent += 1
        begun = call.prompt[len(PROMPT) :] if isinstance(call.prompt, tuple) else ()
        assert begun == self.answer[: len(begun)], "it goes on from what it said"
        # A raw prompt is told as it comes; only the chat's parser holds spaces back.
        holds = self.holds_spaces and call.prompt is None
        self.slot = PROMPT
        await a_step()  # It reads its prompt.
        limit = len(self.answer) if call.output_tokens_max is None else call.output_tokens_max
        made: list[int] = []
        said = ""
        for token in self.answer[len(begun) :][:limit]:
            await a_step()
            self.slot = (*PROMPT, *begun, *made)
            made.append(token)
            now = told(made, holds_spaces=holds)
            if now != said:
                sink(Delta(text=now[len(said) :]))
                said = now
        if (rest := spoken(made)) != said:
            sink(Delta(text=rest[len(said) :]))
        return Generated(
            choices=(Choice(Message("assistant", spoken(made))),),
            usage=Usage(input_tokens=len(PROMPT) + len(begun), output_tokens=len(made)),
        )

    async def prompt_tokens(self, call: Infer, model: str) -> tuple[int, ...]:
        return PROMPT

    async def tokens(self, text: str, *, special: bool) -> tuple[int, ...]:
        raise AssertionError("the token ids are known")

    async def text(self, tokens: Sequence[int]) -> str:
        return spoken(tokens)

    async def write(self, held: Held) -> int:
        return len(self.slot)

    async def tokens_saved(self, held: Held) -> tuple[int, ...]:
        return self.slot


@dataclass
class Caller:
    """A call that yields after so many deltas, each time it runs."""

    host: Host
    cuts: list[int]
    deltas: list[str] = field(default_factory=list)
    feed: Feed = field(default_factory=Feed)
    latency_class: LatencyClass = "batch"

    async def run(self) -> Generated:
        runner = Runner(self.host, self.host, self.host, self.feed, SystemClock())
        so_far: Partial | None = None
        for cut in [*self.cuts, -1]:
            stop = asyncio.Event()
            if cut == 0:
                stop.set()
            end = len(self.deltas) + cut

            def take(delta: Delta, stop: asyncio.Event = stop, end: int = end) -> None:
                self.deltas.append(delta.text)
                if len(self.deltas) == end:
                    stop.set()

            job = Job(
                call=Infer(model="m", messages=(Message("user", "x"),)),
                model=MODEL,
                sink=take,
                turn=Turn(latency_class=self.latency_class, yield_now=stop, so_far=so_far),
                place=Place(Held("c", "p"), 0, 1_000),
                ends_s=SystemClock().now_s() + 60,
            )
            try:
                return await runner.run(job)
            except Preempted as preempted:
                so_far = preempted.partial
                assert so_far.text == "".join(self.deltas), "a partial is what was given"
                assert so_far.deltas == len(self.deltas)
        raise AssertionError("preempted without having been asked to")


@given(ANSWERS, CUTS, st.booleans())
def test_nothing_is_lost_nothing_repeated_and_everything_counted(
    answer: tuple[int, ...], cuts: list[int], holds_spaces: bool
) -> None:
    caller = Caller(Host(answer, holds_spaces), cuts)
    made = asyncio.run(caller.run())
    assert made.choices[0].message.text() == spoken(answer)
    assert "".join(caller.deltas) == spoken(answer)
    assert made.usage.output_tokens == len(answer)
    assert made.usage.input_tokens == len(PROMPT)


@pytest.mark.parametrize("cuts", [[1], [2], [2, 1], [1, 1, 1], [0, 2]])
@pytest.mark.parametrize("holds_spaces", [False, True])
def test_it_is_really_cut_and_goes_on(cuts: list[int], holds_spaces: bool) -> None:
    answer = (0, 12, 8, 9, 1, 6, 7, 12, 10, 2, 3, 0)
    caller = Caller(Host(answer, holds_spaces), cuts)
    made = asyncio.run(caller.run())
    # A call that yields before its prompt is read is not even sent, and what the last leg kept
    # back counts as a delta of the next.
    least = 1 if holds_spaces else sum(cut > 0 for cut in cuts)
    assert least + 1 <= caller.host.sent <= len(cuts) + 1
    assert made.choices[0].message.text() == "".join(caller.deltas) == spoken(answer)


@given(ANSWERS, st.lists(st.integers(0, 8), max_size=6), st.integers(1, 3))
def test_prompts_that_are_held_again_and_again_are_answered_all(
    answer: tuple[int, ...], holds: list[int], callers: int
) -> None:
    async def scenario() -> None:
        feed = Feed()
        hosts = [Host(answer) for _ in range(callers)]
        running = [asyncio.create_task(Caller(host, [], feed=feed).run()) for host in hosts]
        for pause in holds:
            feed.begin()
            for _ in range(pause):
                await asyncio.sleep(0)
            urgent = Caller(Host(answer), [], feed=feed, latency_class="interactive")
            assert (await urgent.run()).choices[0].message.text() == spoken(answer)
            feed.end()
            for _ in range(pause):
                await asyncio.sleep(0)
        for task in running:
            assert (await task).choices[0].message.text() == spoken(answer)

    asyncio.run(scenario())


def test_one_prompt_is_read_at_a_time_and_whoever_leaves_the_line_lets_the_next_on() -> None:
    feed = Feed()
    one, two, three = feed.stand(), feed.stand(), feed.stand()
    assert (one.is_set(), two.is_set(), three.is_set()) == (True, False, False)
    feed.leave(two)
    feed.leave(one)
    assert three.is_set()
    feed.leave(three)
    assert feed.stand().is_set()
