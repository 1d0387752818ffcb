"""Calls that leave their server and go on later, on what vLLM 0.32 really streamed.

The transcripts were recorded (`tests/golden/vllm_left_and_gone_on.json`); SGLang's are written to
its documented wire.  `tests/engines/test_vllm.py` asks a real vLLM the same.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace
from patience import until

from orlop.abi.calls import Infer, Sampling
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Image, Message, Text, ToolSpec
from orlop.abi.replies import Delta, Generated
from orlop.devices.device import Partial, Preempted, Turn
from orlop.drivers.sglang import SGLang
from orlop.drivers.told_ids import goes_on, version
from orlop.drivers.vllm import VLLM
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock
from orlop.wire.openai_stream import ChatStreamReader
from orlop.wire.token_trace import TokenTrace

GOLDEN = Path(__file__).parents[2] / "golden" / "vllm_left_and_gone_on.json"
RECORD = json.loads(GOLDEN.read_text())
MODEL, NAME = ModelName("smol"), EngineName("far")


@dataclass(eq=False)
class Recorded:
    """Says again what was recorded; holds its breath after `stop_after` pieces of the first leg."""

    chat: dict[str, object]
    stop_after: int = -1
    said_version: str = RECORD["version"]["version"]
    tells: bool = True
    asked: list[dict[str, object]] = field(default_factory=list)
    left: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if "messages" in body:
            assert body["messages"] == self.chat["messages"]
            return await self._say(request, str(self.chat["stream"]), self.stop_after)
        legs = self.chat["legs"]
        assert isinstance(legs, list)
        (leg,) = [leg for leg in legs if leg["prompt"] == body["prompt"]]
        assert body["max_tokens"] == leg["max_tokens"]
        return await self._say(request, leg["stream"], -1)

    async def _say(self, request: web.Request, stream: str, stop_after: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        said = 0
        for event in stream.strip().split("\n\n"):
            chunk = json.loads(event[6:]) if event != "data: [DONE]" else {}
            says = any(
                (choice.get("delta") or choice).get("content")
                for choice in chunk.get("choices", ())
            )
            if says and said == stop_after:
                break
            said += says
            if not self.tells:
                for choice in chunk.get("choices", ()):
                    choice.pop("token_ids", None)
                event = f"data: {json.dumps(chunk)}" if chunk else event
            await response.write(f"{event}\n\n".encode())
        else:
            return response
        await until(lambda: is_gone(request))
        self.left += 1
        return response

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": self.said_version})

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response(RECORD["models"])

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/version", self.version),
            web.get("/v1/models", self.models),
            web.post("/v1/chat/completions", self.answer),
            web.post("/v1/completions", self.answer),
        ]


def is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


@asynccontextmanager
async def serving(routes: Sequence[web.RouteDef]) -> AsyncGenerator[str]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def vllm(server: Recorded, *, continues: bool = True) -> AsyncGenerator[VLLM]:
    async with serving(server.routes()) as url:
        engine = VLLM(
            NAME, url, clock=SystemClock(), chance=SeededChance(1), watch_s=0, continues=continues
        )
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()


def call_of(chat: dict[str, object]) -> Infer:
    messages, tokens = chat["messages"], chat["max_tokens"]
    assert isinstance(messages, list) and isinstance(tokens, int)
    return Infer(
        model=MODEL,
        messages=tuple(Message(one["role"], one["content"]) for one in messages),
        output_tokens_max=tokens,
        sampling=Sampling(temperature=0.0),
        dialect="openai",
        extra={"ignore_eos": True},
    )


def whole(chat: dict[str, object]) -> Generated:
    reader = ChatStreamReader()
    reader.feed(str(chat["stream"]).encode())
    return reader.finish()


def pieces_of(chat: dict[str, object]) -> int:
    return len(ChatStreamReader().feed(str(chat["stream"]).encode()))


STOPS = [(at, stop) for at, chat in enumerate(RECORD["chats"]) for stop in range(pieces_of(chat))]


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize(("at", "stop_after"), STOPS)
def test_a_call_that_left_says_in_the_end_what_it_would_have_said(
    at: int, stop_after: int, is_read: bool
) -> None:
    """Left after each piece; ids of letters that are not whole are made again."""
    chat = RECORD["chats"][at]

    async def scenario() -> None:
        server = Recorded(chat, stop_after)
        async with vllm(server) as engine:
            assert engine.capacity().continues and engine.card().continues
            call, read, stop = call_of(chat), list[Delta](), asyncio.Event()
            assert engine.goes_on(call)

            def take(delta: Delta) -> None:
                read.append(delta)

            async def stops() -> None:
                await until(lambda: bool(server.asked) and len(read) >= stop_after * is_read)
                stop.set()

            sink = take if is_read else None
            asking = asyncio.create_task(stops())
            with pytest.raises(Preempted) as stopped:
                await engine.infer(call, MODEL, sink, 20.0, Turn(yield_now=stop))
            await asking
            partial = stopped.value.partial
            if is_read:
                assert partial.deltas == len(read) == stop_after
                assert partial.text == "".join(delta.text for delta in read)
            turn = Turn(yield_now=asyncio.Event(), so_far=partial)
            server.stop_after = -1
            made = await engine.infer(call, MODEL, sink, 20.0, turn)
            expected = whole(chat)
            assert made.choices == expected.choices
            assert made.usage.input_tokens == expected.usage.input_tokens
            assert made.usage.output_tokens == expected.usage.output_tokens
            assert not {"prompt_token_ids", "token_ids"} & set(made.extra)
            if is_read:
                assert "".join(delta.text for delta in read) == expected.choices[0].message.text()
            await until(lambda: server.left == 1)

    asyncio.run(scenario())


def test_a_server_that_tells_no_ids_is_not_left_in_an_answer_nor_asked_to_again() -> None:
    async def scenario() -> None:
        chat, stop = RECORD["chats"][0], asyncio.Event()
        server = Recorded(chat, tells=False)
        async with vllm(server) as engine:
            turn = Turn(yield_now=stop)
            made = await engine.infer(call_of(chat), MODEL, lambda _: stop.set(), 20.0, turn)
            assert made.choices == whole(chat).choices
            assert not engine.capacity().continues

    asyncio.run(scenario())


def test_only_servers_that_tell_ids_are_said_to_go_on_and_only_where_they_may() -> None:
    async def scenario() -> None:
        for said, may, continues in (
            ("0.32.0", True, True),
            ("0.10.2", True, True),
            ("v1.0.0rc1", True, True),
            ("0.10.1.1", True, False),
            ("dev", True, False),
            ("0.32.0", False, False),
        ):
            async with vllm(
                Recorded(RECORD["chats"][0], said_version=said), continues=may
            ) as engine:
                assert engine.capacity().continues is continues, said

    asyncio.run(scenario())


def test_what_a_server_keeps_beside_its_tokens_is_not_left_behind() -> None:
    chat = call_of(RECORD["chats"][0])
    sampling = chat.sampling
    stays = {
        "a seed": replace(chat, sampling=replace(sampling, temperature=1.0, seed=7)),
        "two answers": replace(chat, sampling=replace(sampling, n=2)),
        "logprobs": replace(chat, sampling=replace(sampling, logprobs=True)),
        "a stop sequence": replace(chat, sampling=replace(sampling, stop=("END",))),
        "a penalty": replace(chat, sampling=replace(sampling, presence_penalty=0.5)),
        "a tool": replace(chat, tools=(ToolSpec("look"),)),
        "a schema": replace(chat, response_format={"type": "json_object"}),
        "at least so many": replace(chat, extra={"min_tokens": 5}),
        "what nobody knows": replace(chat, extra={"a_field_of_tomorrow": True}),
        "a prompt with the server's own limit": Infer(model=MODEL, prompt="once"),
        "an image": replace(
            chat,
            messages=(Message("user", (Text("what is it?"), Image("data:image/png;base64,"))),),
        ),
    }
    assert [name for name, call in stays.items() if goes_on(call)] == []
    goes = {
        "greedy": chat,
        "greedy with a seed": replace(chat, sampling=replace(sampling, seed=7)),
        "drawn": replace(chat, sampling=Sampling(temperature=0.8, top_p=0.9)),
        "plain text": replace(chat, response_format={"type": "text"}),
        "token ids": Infer(model=MODEL, prompt=(1, 2, 3), output_tokens_max=5),
    }
    assert [name for name, call in goes.items() if not goes_on(call)] == []


def test_of_a_piece_with_several_ids_nobody_knows_where_its_letters_end() -> None:
    trace, told = TokenTrace(), list[tuple[int, ...] | None]()
    trace.take_prompt([1, 2])
    for ids, says in (([], False), ([10], True), ([11], False), ([12, 13], True), ([14], True)):
        trace.take(ids, says=says)
        told.append(trace.said)
    assert told == [(), (10,), (10,), None, (10, 11, 12, 13, 14)]
    assert trace.prompt == (1, 2) and trace.is_told
    trace.take(["x"], says=True)
    assert not trace.is_told and trace.said is None


def test_versions_are_read_as_far_as_they_are_numbers() -> None:
    said = ("0.32.0+cpu", "v0.11", "0.10.2.dev3+g12", "", "main")
    assert [version(one) for one in said] == [(0, 32, 0), (0, 11), (0, 10, 2), (), ()]


# SGLang.

PROMPT = [5, 6]
SAID = [(100, "The"), (101, " "), (102, "海"), (103, " is"), (104, " wide")]
"""It gives the blank away when it has half of the next letter: the blank's piece is not its own."""


@dataclass(eq=False)
class SGLangServer:
    """As the documented wire has it; `split`: an id that says a blank and half of a letter."""

    is_split: bool = False
    asked: list[dict[str, object]] = field(default_factory=list)
    aborted: int = 0
    hold_at: int = -1

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/server_info", self.info),
            web.get("/v1/models", Recorded({}).models),
            web.post("/v1/completions", self.answer),
            web.post("/detokenize", self.text),
            web.post("/abort_request", self.abort),
        ]

    async def info(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.5.23", "model_path": "smol"})

    async def text(self, request: web.Request) -> web.Response:
        ids = (await request.json())["tokens"]
        text = "".join(text for one, text in SAID if one in ids)
        return web.json_response({"text": text + "\ufffd" * (self.is_split and ids[-1] == 101)})

    async def abort(self, request: web.Request) -> web.Response:
        self.aborted += 1
        return web.json_response({})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        assert body["return_token_ids"] and body["prompt"][:2] == PROMPT
        said = len(body["prompt"]) - 2
        assert body["max_tokens"] == len(SAID) - said
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for at, (one, text) in enumerate(SAID[said:], said):
            if at == self.hold_at:
                await until(lambda: is_gone(request))
                return response
            last = at == len(SAID) - 1
            choice = {"index": 0, "text": text, "finish_reason": "length" if last else None}
            choice |= {"token_ids": [one]} | (
                {"prompt_token_ids": body["prompt"]} if at == said else {}
            )
            await response.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(SAID) - said}
        tail = json.dumps({"choices": [], "usage": usage})
        await response.write(f"data: {tail}\n\ndata: [DONE]\n\n".encode())
        return response


@pytest.mark.parametrize("is_split", [False, True])
def test_sglang_is_left_where_its_ids_say_what_it_said(is_split: bool) -> None:
    async def scenario() -> None:
        stop_after = 2
        server = SGLangServer(is_split, hold_at=-1 if is_split else stop_after)
        async with serving(server.routes()) as url:
            engine = SGLang(NAME, url, clock=SystemClock(), chance=SeededChance(1), watch_s=0)
            await engine.start()
            try:
                assert engine.capacity().continues
                call = Infer(model=MODEL, prompt=tuple(PROMPT), output_tokens_max=len(SAID))
                assert engine.goes_on(call)
                assert not engine.goes_on(call_of(RECORD["chats"][0])), "chats are not told"
                read, stop = list[str](), asyncio.Event()
                so_far: Partial | None = None

                def take(delta: Delta) -> None:
                    read.append(delta.text)
                    if len(read) == stop_after:
                        stop.set()

                try:
                    made = await engine.infer(call, MODEL, take, 20.0, Turn(yield_now=stop))
                except Preempted as stopped:
                    so_far = stopped.partial
                    assert so_far.prompt == tuple(PROMPT)
                    assert so_far.text == "".join(read)
                    assert not is_split or so_far.tokens[-1] != 101
                    server.hold_at = -1
                    turn = Turn(yield_now=asyncio.Event(), so_far=so_far)
                    made = await engine.infer(call, MODEL, take, 20.0, turn)
                assert (so_far is not None) or is_split
                assert "".join(read) == made.choices[0].message.text() == "The 海 is wide"
                assert made.usage.input_tokens == 2 and made.usage.output_tokens == len(SAID)
            finally:
                await engine.close()
            assert server.aborted == (so_far is not None)

    asyncio.run(scenario())
