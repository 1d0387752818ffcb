"""The OpenAI driver against a server that does everything wrong."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from patience import until
from wrong_engine import Answer, Asked, WrongEngine, hang, pour, respond, slam, wrong_engine

from orlop.abi.calls import Embed, Infer
from orlop.abi.errors import DeadlineMissed, DeviceBusy, DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName, ModelName, Nanoseconds
from orlop.abi.messages import Message
from orlop.abi.replies import Delta
from orlop.devices.openai import OpenAI
from orlop.machine import redaction
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock

MODEL = ModelName("m")
CALL = Infer(model="m", messages=(Message("user", "hello"),), dialect="openai")
MODELS = respond(200, b'{"data":[{"id":"m","max_model_len":4096},{"id":"text-embed"}]}')
GOOD = respond(
    200,
    b'{"model":"m-1","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,'
    b'"prompt_tokens_details":{"cached_tokens":2}},'
    b'"timings":{"prompt_ms":20,"predicted_ms":5}}',
)


def piece(text: str, finish: str = "null") -> bytes:
    choice = f'{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{finish}}}'
    return f'data: {{"choices":[{choice}]}}\n\n'.encode()


END = piece("", '"stop"') + b"data: [DONE]\n\n"


class PatientClock(SystemClock):
    """Remembers how long it was asked to sleep, and does not."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)

    def wall_ns(self) -> Nanoseconds:
        return Nanoseconds(0)


class Driven:
    """A driver, its clock, and the server that it talks to."""

    def __init__(self, server: WrongEngine, key: str) -> None:
        self.server = server
        self.clock = PatientClock()
        self.engine = OpenAI(
            EngineName("far"), server.url, clock=self.clock, chance=SeededChance(1), key=key
        )
        self.deltas: list[Delta] = []

    async def stream(self, deadline_s: float = 30.0) -> str:
        made = await self.engine.infer(CALL, MODEL, self.deltas.append, deadline_s)
        return made.choices[0].message.text()

    async def ask(self, deadline_s: float = 30.0) -> str:
        made = await self.engine.infer(CALL, MODEL, None, deadline_s)
        return made.choices[0].message.text()


@asynccontextmanager
async def driven(*script: Answer, key: str = "") -> AsyncGenerator[Driven]:
    """`script` begins after the list of models, which each driver asks for first."""
    async with wrong_engine(MODELS, *script) as server:
        far = Driven(server, key)
        await far.engine.start()
        try:
            yield far
        finally:
            await far.engine.close()


def test_what_the_engine_counts_and_measures_is_kept() -> None:
    async def scenario() -> None:
        async with driven(GOOD) as far:
            made = await far.engine.infer(CALL, MODEL, None, 5.0)
            assert (made.usage.input_tokens, made.usage.cached_tokens) == (3, 2)
            assert (made.prefill_s, made.decode_s) == (0.02, 0.005)
            assert made.extra["timings"] == {"prompt_ms": 20, "predicted_ms": 5}
            assert made.model == "m-1"

    asyncio.run(scenario())


def test_connections_are_reused_also_after_streams() -> None:
    async def scenario() -> None:
        async with driven(GOOD, pour(piece("a"), END), GOOD, pour(piece("b"), END), GOOD) as far:
            assert [await far.ask(), await far.stream(), await far.ask()] == ["hi", "a", "hi"]
            assert [await far.stream(), await far.ask()] == ["b", "hi"]
            assert far.server.connections == 1

    asyncio.run(scenario())


def test_a_busy_engine_is_asked_again_when_it_says() -> None:
    async def scenario() -> None:
        busy = respond(429, b'{"error":{"message":"slow down"}}', "retry-after: 7")
        async with driven(busy, busy, GOOD) as far:
            assert await far.ask() == "hi"
            assert far.clock.slept == [7.0, 7.0]

    asyncio.run(scenario())


def test_an_engine_that_stays_busy_is_busy_with_the_time_to_come_back() -> None:
    async def scenario() -> None:
        busy = respond(429, b'{"error":{"message":"slow down"}}', "retry-after: 7")
        async with driven(busy) as far:
            with pytest.raises(DeviceBusy, match="far answered 429: slow down") as raised:
                await far.ask()
            assert raised.value.retry_after_s == 7.0
            assert len(far.server.asked) == 1 + 3

    asyncio.run(scenario())


def test_nobody_waits_beyond_the_deadline_only_to_ask_again() -> None:
    async def scenario() -> None:
        async with driven(respond(503, b"", "retry-after: 60"), GOOD) as far:
            with pytest.raises(DeviceBusy):
                await far.ask(deadline_s=30.0)
            assert far.clock.slept == []

    asyncio.run(scenario())


def test_without_a_time_the_pauses_double_and_are_never_the_same() -> None:
    async def scenario() -> None:
        async with driven(respond(500, b"oh"), respond(500, b"oh"), GOOD) as far:
            assert await far.ask() == "hi"
            first, second = far.clock.slept
            assert 0.25 <= first < 0.5 <= second < 1.0

    asyncio.run(scenario())


def test_a_refusal_is_told_at_once_in_the_engine_s_own_words() -> None:
    async def scenario() -> None:
        async with driven(respond(400, b'{"error":{"message":"no such grammar"}}')) as far:
            with pytest.raises(DeviceRefused, match="no such grammar"):
                await far.ask()
            assert len(far.server.asked) == 2

    asyncio.run(scenario())


def test_a_wrong_key_names_the_setting_and_never_the_key() -> None:
    async def scenario() -> None:
        async with driven(respond(401, b'{"error":{"message":"bad key"}}'), key="sesame") as far:
            with pytest.raises(DeviceRefused, match="key_env") as raised:
                await far.ask()
            assert "sesame" not in raised.value.message
            assert "authorization: bearer sesame" in far.server.asked[1].head.lower()

    asyncio.run(scenario())


def test_an_engine_that_tells_the_key_back_tells_nobody_else() -> None:
    key = redaction.hide("the-key-of-an-engine-that-tells")

    async def scenario() -> None:
        told = f'{{"error":{{"message":"{key} is not mine"}}}}'.encode()
        async with driven(*[respond(500, told)] * 10, key=key) as far:
            with pytest.raises(DeviceFailed, match=r"\[secret\] is not mine") as raised:
                await far.ask()
            assert key not in raised.value.message + far.engine.card().reason

    asyncio.run(scenario())


def test_an_engine_that_hangs_up_before_it_answers_is_asked_again() -> None:
    async def scenario() -> None:
        async with driven(slam, slam, GOOD) as far:
            assert await far.ask() == "hi"
            assert far.engine.card().health == "ready"

    asyncio.run(scenario())


@pytest.mark.parametrize("resets", [False, True])
def test_a_stream_that_is_cut_is_a_failure_and_is_not_asked_for_twice(resets: bool) -> None:
    async def scenario() -> None:
        async with driven(pour(piece("half"), ends=False, resets=resets)) as far:
            with pytest.raises(DeviceFailed, match="cut"):
                await far.stream()
            assert [delta.text for delta in far.deltas] == ["half"]
            assert len(far.server.asked) == 2
            assert far.engine.card().health == "failing"

    asyncio.run(scenario())


def test_a_stream_without_done_is_cut_off_however_politely_it_ends() -> None:
    async def scenario() -> None:
        async with driven(pour(piece("half"), piece("", '"stop"'))) as far:
            with pytest.raises(DeviceFailed, match="cut off before its end"):
                await far.stream()

    asyncio.run(scenario())


def test_an_error_inside_a_stream_is_that_error() -> None:
    async def scenario() -> None:
        lost = b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n'
        busy = b'data: {"error":{"message":"too many","type":"rate_limit_error"}}\n\n'
        bad = b'data: {"error":{"message":"bad image","type":"invalid_request_error"}}\n\n'
        async with driven(pour(piece("a"), lost), pour(busy), pour(bad)) as far:
            with pytest.raises(DeviceFailed, match="out of memory"):
                await far.stream()
            with pytest.raises(DeviceBusy, match="too many"):
                await far.stream()
            with pytest.raises(DeviceRefused, match="bad image"):
                await far.stream()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        respond(200, b"<html>welcome</html>", kind="text/html"),
        respond(200, b'{"choices":[]}'),
        respond(200, b'{"choices":[{"message":"hi"}]}'),
        respond(200, b"[" * 10_000),
        pour(b"\xff\xfe garbage"),
    ],
)
def test_garbage_is_the_engine_s_failure(answer: Answer) -> None:
    async def scenario() -> None:
        async with driven(answer) as far:
            with pytest.raises(DeviceFailed):
                await far.ask()
            with pytest.raises(DeviceFailed):
                await far.stream()

    asyncio.run(scenario())


def test_an_engine_that_never_answers_misses_the_deadline_and_is_let_go() -> None:
    async def scenario() -> None:
        async with driven(hang) as far:
            with pytest.raises(DeadlineMissed, match="far"):
                await far.ask(deadline_s=0.05)
            await until(far.server.asked[-1].gone.is_set)

    asyncio.run(scenario())


def test_a_stream_that_stays_open_after_done_still_ends() -> None:
    async def scenario() -> None:
        async def keep_open(asked: Asked) -> None:
            await pour(piece("all"), END, ends=False, closes=False)(asked)
            await asked.gone.wait()

        async with driven(keep_open) as far:
            assert await far.stream() == "all"

    asyncio.run(scenario())


def test_a_server_that_does_not_stream_is_passed_on_in_one_piece() -> None:
    async def scenario() -> None:
        async with driven(GOOD) as far:
            assert await far.stream() == "hi"
            assert [delta.text for delta in far.deltas] == ["hi"]

    asyncio.run(scenario())


def test_a_wrong_key_is_noticed_at_the_start_and_shown_on_the_card() -> None:
    async def scenario() -> None:
        async with wrong_engine(respond(401, b'{"error":{"message":"bad key"}}')) as server:
            engine = Driven(server, "sesame").engine
            with pytest.raises(DeviceFailed, match="bad key"):
                await engine.start()
            assert engine.card().health == "failing"
            await engine.close()

    asyncio.run(scenario())


def test_nobody_is_there() -> None:
    async def scenario() -> None:
        async with driven(GOOD) as far:
            away = OpenAI(
                EngineName("away"), "http://127.0.0.1:9", clock=far.clock, chance=SeededChance(1)
            )
            with pytest.raises(DeviceFailed, match="away did not answer at http"):
                await away.start()
            assert away.card().health == "failing"
            await away.close()

    asyncio.run(scenario())


def test_models_come_with_what_the_list_tells_of_them() -> None:
    async def scenario() -> None:
        async with driven(MODELS) as far:
            assert far.engine.card().models == ("m", "text-embed")
            first, second = await far.engine.models()
            assert (first.kind, first.context_tokens) == ("chat", 4096)
            assert second.kind == "embed"

    asyncio.run(scenario())


def test_too_few_vectors_are_a_failure() -> None:
    async def scenario() -> None:
        async with driven(respond(200, b'{"data":[{"index":0,"embedding":[1,0]}]}')) as far:
            with pytest.raises(DeviceFailed, match="one vector for each of 2"):
                await far.engine.embed(Embed(model="m", inputs=("a", "b")), MODEL, 5.0)

    asyncio.run(scenario())


def test_only_the_caller_s_own_dialect_gets_its_unknown_fields() -> None:
    async def scenario() -> None:
        async with driven(GOOD) as far:
            call = replace(CALL, extra={"top_k": 3})
            await far.engine.infer(call, MODEL, None, 5.0)
            assert json.loads(far.server.asked[-1].body)["top_k"] == 3
            await far.engine.infer(replace(call, dialect=""), MODEL, None, 5.0)
            assert "top_k" not in json.loads(far.server.asked[-1].body)

    asyncio.run(scenario())
