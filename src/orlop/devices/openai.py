"""Any OpenAI-compatible server as an engine, over aiohttp.

A call is asked again only before the server has answered 200: after that it may be paid for.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
from yarl import URL

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, Health, ModelCard
from orlop.abi.errors import DeadlineMissed, DeviceBusy, DeviceFailed, DeviceRefused, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import (
    BODY_BYTES_MAX,
    ENGINE_CONNECT_S,
    ENGINE_RETRIES_MAX,
    ENGINE_RETRY_DELAY_S,
    ERROR_BYTES_MAX,
)
from orlop.abi.replies import Embedded, Generated
from orlop.devices.device import ALONE, Capacity, Sink, Turn
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.wire import problem
from orlop.wire.openai import read_chat_response, write_chat_request
from orlop.wire.openai_embed import read_embed_response, read_models, write_embed_request
from orlop.wire.openai_legacy import write_text_request
from orlop.wire.openai_stream import ChatStreamReader, whole

_END_S: Final = 0.5
"""For a stream's last bytes after `[DONE]`: a connection that was read to its end is reused."""

_LIST_S: Final = 10.0
"""To answer which models there are."""


_PATHS: Final = ("models", "chat/completions", "completions", "embeddings")


class OpenAI:
    """An `Engine`.

    url: as clients write it, with `/v1`; a bare host gets that added.
    limit_field: `max_completion_tokens` for OpenAI's own newer models.
    tiers: pass latency classes on as `service_tier`.
    """

    def __init__(
        self,
        name: EngineName,
        url: str,
        *,
        clock: Clock,
        chance: Chance,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        slots: int = 16,
        limit_field: str = "max_tokens",
        tiers: bool = False,
    ) -> None:
        base = URL(url)
        self._base = base / "v1" if base.path in ("", "/") else URL(url.rstrip("/"))
        self._urls = {path: self._base / path for path in _PATHS}
        self._name = name
        self._slots = slots
        self._clock = clock
        self._chance = chance
        # Compressing answers costs the engine more time than it saves on any network near it.
        own = {"content-type": "application/json", "accept-encoding": "identity"}
        self._headers = {**own, **(headers or {})}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._limit_field = limit_field
        self._tiers = tiers
        self._session: aiohttp.ClientSession | None = None
        self._health: Health = "starting"
        self._reason = "not asked yet"
        self._models: tuple[ModelCard, ...] = ()
        self._running = 0

    @property
    def name(self) -> EngineName:
        return self._name

    @property
    def slots(self) -> int:
        return self._slots

    def capacity(self) -> Capacity:
        return Capacity(slots=self.slots)

    def load(self) -> None:
        return None

    @property
    def contexts(self) -> None:
        return None

    @property
    def residence(self) -> None:
        return None

    def card(self) -> EngineCard:
        return EngineCard(
            name=self._name,
            driver="openai",
            url=str(self._base),
            slots=self._slots,
            health=self._health,
            reason=self._reason,
            models=tuple(card.name for card in self._models),
            running=self._running,
        )

    async def start(self) -> None:
        if self._session is None:
            # One seat more than slots: asking for the models must not wait for a long answer.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._slots + 1, keepalive_timeout=60.0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=ENGINE_CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
            )
        await self.models()

    async def models(self) -> Sequence[ModelCard]:
        try:
            async with deadline(_LIST_S, f"listing {self._name}'s models"):
                response = await self._open("GET", "models", None, self._clock.now_s() + _LIST_S)
                self._models = read_models(await self._read(response), self._name)
        except (DeviceRefused, DeadlineMissed) as error:
            # Nobody's call is wrong here: it is the engine that can't be used.
            self._health, self._reason = "failing", error.message
            raise DeviceFailed(error.message) from error
        return self._models

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        write = write_chat_request if call.prompt is None else write_text_request
        path = "chat/completions" if call.prompt is None else "completions"
        body = write(
            call,
            model,
            stream=sink is not None,
            limit_field=self._limit_field,
            tiers=self._tiers,
        )
        self._running += 1
        try:
            async with deadline(deadline_s, f"{self._name}'s answer"):
                ends_s = self._clock.now_s() + deadline_s
                response = await self._open("POST", path, body, ends_s)
                if sink is None:
                    return read_chat_response(await self._read(response))
                return await self._stream(response, sink)
        finally:
            self._running -= 1

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        body = write_embed_request(call, model)
        self._running += 1
        try:
            async with deadline(deadline_s, f"{self._name}'s vectors"):
                ends_s = self._clock.now_s() + deadline_s
                response = await self._open("POST", "embeddings", body, ends_s)
                return read_embed_response(await self._read(response), len(call.inputs))
        finally:
            self._running -= 1

    async def close(self) -> None:
        self._health, self._reason = "gone", "closed"
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _open(
        self, method: str, path: str, body: bytes | None, ends_s: float
    ) -> aiohttp.ClientResponse:
        """A response with status 200, its body unread; asks again while that may help."""
        attempt = 0
        while True:
            answer = await self._ask(method, path, body)
            if isinstance(answer, aiohttp.ClientResponse):
                self._health, self._reason = "ready", ""
                return answer
            delay_s = self._delay_s(answer, attempt)
            is_late = self._clock.now_s() + delay_s >= ends_s
            if not answer.retry or attempt == ENGINE_RETRIES_MAX or is_late:
                break
            attempt += 1
            await self._clock.sleep(delay_s)
        if isinstance(answer, DeviceFailed) and not isinstance(answer, DeviceBusy):
            self._health, self._reason = "failing", answer.message
        raise answer

    async def _ask(
        self, method: str, path: str, body: bytes | None
    ) -> aiohttp.ClientResponse | KernelError:
        """Once.  An error is returned, with its cause, for the loop above to judge."""
        if self._session is None:
            return DeviceFailed(f"{self._name} is not started")
        try:
            response = await self._session.request(method, self._urls[path], data=body)
            if response.status == 200:
                return response
            async with response:
                told = problem.read_told(await response.content.read(ERROR_BYTES_MAX))
                failure = problem.engine_problem(
                    self._name, response.status, response.headers, told
                )
        except (aiohttp.ClientError, OSError) as error:
            failure = DeviceFailed(f"{self._name} did not answer at {self._base}: {_say(error)}")
            failure.__cause__ = error
        return failure

    def _delay_s(self, failure: KernelError, attempt: int) -> float:
        """As the engine says; else doubling, half of it by chance so that callers part ways."""
        if failure.retry_after_s is not None:
            return failure.retry_after_s
        return float(ENGINE_RETRY_DELAY_S * 2**attempt * (0.5 + self._chance.uniform() / 2))

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        async with response:
            try:
                if (response.content_length or BODY_BYTES_MAX + 1) <= BODY_BYTES_MAX:
                    return await response.read()
                pieces = bytearray()
                async for piece in response.content.iter_any():
                    pieces += piece
                    if len(pieces) > BODY_BYTES_MAX:
                        raise DeviceFailed(f"{self._name} answered more than BODY_BYTES_MAX bytes")
                return bytes(pieces)
            except (aiohttp.ClientError, OSError) as error:
                raise self._cut_off(error) from error

    async def _stream(self, response: aiohttp.ClientResponse, sink: Sink) -> Generated:
        if response.content_type == "application/json":
            return _pass_whole(read_chat_response(await self._read(response)), sink)
        reader = ChatStreamReader(self._name)
        async with response:
            try:
                async for piece in response.content.iter_any():
                    for delta in reader.feed(piece):
                        sink(delta)
                    if reader.is_done:
                        await self._read_end(response)
                        break
            except (aiohttp.ClientError, OSError) as error:
                raise self._cut_off(error) from error
        return reader.finish()

    async def _read_end(self, response: aiohttp.ClientResponse) -> None:
        try:
            async with asyncio.timeout(_END_S):
                await response.content.readany()
        except TimeoutError:
            pass  # It keeps the connection open; leaving closes it.

    def _cut_off(self, error: Exception) -> DeviceFailed:
        failure = DeviceFailed(f"{self._name} cut its answer off: {_say(error)}")
        self._health, self._reason = "failing", failure.message
        return failure


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__


def _pass_whole(generated: Generated, sink: Sink) -> Generated:
    """Some servers answer a wish for a stream in one piece."""
    for choice in generated.choices:
        sink(whole(choice))
    return generated
