"""What bad input gets on OpenAI's routes: a clear refusal, and everybody else is served."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import msgspec
import pytest
from openai_surface import surface
from patience import until

from orlop.abi.ids import EngineName
from orlop.abi.limits import BODY_BYTES_MAX
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock

GOOD = b'{"model":"fake","messages":[{"role":"user","content":"[[say fine]]"}]}'
ROUTES = ("chat/completions", "completions", "embeddings")


def fake(config: FakeConfig) -> FakeEngine:
    return FakeEngine(EngineName("f"), config, clock=SystemClock(), chance=SeededChance(1))


@asynccontextmanager
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    async with (
        surface(fake(FakeConfig())) as (url, _),
        httpx2.AsyncClient(base_url=url + "/") as http,
    ):
        yield http
        assert (await http.post("chat/completions", content=GOOD)).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b'{"model":5}',
        b'{"model":"\xff\xfe"}',
        b'{"model":"fake","messages":"hi","prompt":5,"input":{}}',
        b'{"model":"fake","max_tokens":-1,"messages":[{}],"prompt":"a","input":"","dimensions":0}',
        b'{"model":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
)
def test_a_body_that_makes_no_sense_is_a_400_in_the_dialect_s_shape(
    route: str, body: bytes
) -> None:
    async def scenario() -> None:
        async with client() as http:
            reply = await http.post(route, content=body)
            assert reply.status_code == 400
            error = msgspec.json.decode(reply.content)["error"]
            assert error["type"] == "invalid_request_error"
            assert error["message"]
            assert reply.headers["x-should-retry"] == "false"

    asyncio.run(scenario())


def test_an_oversize_body_is_a_413_announced_or_not() -> None:
    async def scenario() -> None:
        async def pieces() -> AsyncGenerator[bytes]:
            for _ in range(BODY_BYTES_MAX // 2**20 + 1):
                yield b" " * 2**20

        async with client() as http:
            announced = await http.post("embeddings", content=b" " * (BODY_BYTES_MAX + 1))
            assert announced.status_code == 413
            assert (await http.post("embeddings", content=pieces())).status_code == 413

    asyncio.run(scenario())


def test_an_unknown_model_and_an_unknown_path_are_refused() -> None:
    async def scenario() -> None:
        async with client() as http:
            reply = await http.post("chat/completions", content=GOOD.replace(b"fake", b"gpt-9"))
            assert reply.status_code == 400
            assert "gpt-9" in reply.text
            assert (await http.get("models/gpt-9")).status_code == 404
            assert (await http.get("nothing")).status_code == 404

    asyncio.run(scenario())


def test_what_a_replay_can_t_repeat_is_in_headers_and_not_in_the_body() -> None:
    async def scenario() -> None:
        engine = fake(FakeConfig(prefill_s=0.001))
        async with surface(engine) as (url, _), httpx2.AsyncClient() as http:
            reply = await http.post(f"{url}/chat/completions", content=GOOD)
            body = msgspec.json.decode(reply.content)
            assert set(body["orlop"]) == {"call", "seq", "engine", "model"}
            assert reply.headers["orlop-call"] == body["orlop"]["call"]
            assert reply.headers["orlop-engine"] == "f"

    asyncio.run(scenario())


def test_a_client_that_reads_slowly_does_not_hold_the_engine() -> None:
    async def scenario() -> None:
        engine = fake(FakeConfig(tokens=20_000))
        body = b'{"model":"fake","stream":true,"messages":[{"role":"user","content":"hi"}]}'
        async with surface(engine) as (url, _):
            port = int(url.split(":")[2].split("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}"
            writer.write(head.encode() + b"\r\nconnection: close\r\n\r\n" + body)
            await until(lambda: engine.computed == 1)
            said = await reader.read(-1)
            assert said.count(b'"content":"') == 20_001
            assert b"data: [DONE]" in said
            writer.close()
            await writer.wait_closed()

    asyncio.run(scenario())
