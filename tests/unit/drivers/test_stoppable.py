"""Calls on other people's servers, stopped anywhere and gone on with from their tokens."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import DeviceFailed
from orlop.abi.hints import Usage
from orlop.abi.messages import Message
from orlop.abi.replies import Choice, Delta, Generated
from orlop.devices.device import Preempted, Sink, Turn
from orlop.drivers.stoppable import ids_of, infer

PROMPT = (1, 2, 3)
PIECES = [b"The", b" sea", b", ", b"caf", "é".encode()[:1], "é".encode()[1:], b" and", b" \xe6\xb5"]
PIECES += [b"\xb7", b".", b" It", b" is", b" wide"]
TOKENS = [(100 + at, piece) for at, piece in enumerate(PIECES)]
WHOLE = b"".join(PIECES).decode()
CALL = Infer(
    model="m",
    messages=(Message("user", "sea?"),),
    sampling=Sampling(temperature=0.0),
    output_tokens_max=len(TOKENS),
    dialect="openai",
)


class Server:
    """Says `TOKENS` after `PROMPT`, one a step; letters are told whole, as llama.cpp does."""

    def __init__(self, *, splits_otherwise: bool = False) -> None:
        self.splits_otherwise = splits_otherwise
        self.prompts: list[tuple[int, ...]] = []

    async def ask(self, call: Infer, sink: Sink) -> Generated:
        ids = call.prompt if isinstance(call.prompt, tuple) else PROMPT
        self.prompts.append(ids)
        assert ids[:3] == PROMPT
        said = len(ids) - 3
        assert list(ids[3:]) == [id for id, _ in TOKENS[:said]], "not what was said before"
        assert call.output_tokens_max == len(TOKENS) - said
        held, text = b"", ""
        for _, piece in TOKENS[said:]:
            await asyncio.sleep(0)
            held += piece
            try:
                new = held.decode()
            except UnicodeDecodeError:
                continue
            held, text = b"", text + new
            sink(Delta(text=new))
        usage = Usage(
            input_tokens=len(ids), cached_tokens=len(ids) - 1, output_tokens=len(TOKENS) - said
        )
        choice = Choice(message=Message("assistant", text), finish="stop")
        return Generated(choices=(choice,), usage=usage)

    tells_more = False

    def goes_on(self, call: Infer) -> bool:
        return True

    async def said(self, pieces: Sequence[str]) -> tuple[int, ...] | None:
        return ids_of(pieces, await self.tokens("".join(pieces)))

    async def prompt(self, call: Infer) -> tuple[int, ...]:
        return PROMPT

    async def tokens(self, text: str) -> Sequence[tuple[int, bytes]]:
        wanted = text.encode()
        if self.splits_otherwise:
            return [(7, wanted[:1]), (8, wanted[1:])]
        for first in range(len(TOKENS)):
            for last in range(first + 1, len(TOKENS) + 1):
                if b"".join(PIECES[first:last]) == wanted:
                    return TOKENS[first:last]
        raise DeviceFailed("never said")


async def played(server: Server, stops: list[int], call: Infer = CALL) -> tuple[Generated, str]:
    """The answer and what was read of it; stopped after so many deltas more, each time."""
    read, so_far = list[str](), None
    while True:
        stop, left = asyncio.Event(), stops.pop(0) if stops else -1

        def take(delta: Delta, stop: asyncio.Event = stop, left: int = left) -> None:
            read.append(delta.text)
            if left > 0 and len(read) >= left:
                stop.set()

        if left == 0:
            stop.set()
        turn = Turn(yield_now=stop, so_far=so_far)
        try:
            return await infer(call, turn, take, server.ask, server), "".join(read)
        except Preempted as stopped:
            so_far = stopped.partial
            assert so_far.deltas == len(read)
            assert so_far.text == "".join(read)


@pytest.mark.parametrize("seed", range(30))
def test_stopped_anywhere_and_as_often_as_may_be_it_says_the_same(seed: int) -> None:
    dice = random.Random(seed)
    stops = [dice.randint(0, len(TOKENS)) for _ in range(dice.randint(1, 4))]
    made, read = asyncio.run(played(Server(), stops))
    assert read == made.choices[0].message.text() == WHOLE, f"seed {seed}"
    assert made.usage.input_tokens == len(PROMPT)
    assert made.usage.output_tokens == len(TOKENS)


def test_where_its_text_is_split_otherwise_it_runs_to_its_end() -> None:
    server = Server(splits_otherwise=True)
    made, read = asyncio.run(played(server, [3]))
    assert read == made.choices[0].message.text() == WHOLE
    assert len(server.prompts) == 1


def test_a_call_whose_tokens_can_t_be_asked_for_runs_to_its_end() -> None:
    class Mute(Server):
        async def tokens(self, text: str) -> Sequence[tuple[int, bytes]]:
            raise DeviceFailed("no such page")

    server = Mute()
    _, read = asyncio.run(played(server, [3]))
    assert read == WHOLE and len(server.prompts) == 1


def test_a_server_that_fails_in_the_second_part_fails_the_call() -> None:
    class Broken(Server):
        async def ask(self, call: Infer, sink: Sink) -> Generated:
            if isinstance(call.prompt, tuple):
                raise DeviceFailed("gone")
            return await super().ask(call, sink)

    with pytest.raises(DeviceFailed, match="gone"):
        asyncio.run(played(Broken(), [3]))


def test_pieces_are_known_by_their_bytes_and_by_nothing_less() -> None:
    tokens = [(5, b"ca"), (6, b"f"), (7, b"\xc3"), (8, b"\xa9")]
    assert ids_of(["ca", "f", "é"], tokens) == (5, 6, 7, 8)
    assert ids_of(["caf", "é"], tokens) == (5, 6, 7, 8)
    assert ids_of(["c", "af", "é"], tokens) is None
    assert ids_of(["ca", "f"], tokens) is None
    assert ids_of(["ca", "f", "é", "!"], tokens) is None
