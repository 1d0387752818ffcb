"""Anthropic's Messages API, or a server that speaks it, as an engine.

Its prompt cache keeps what is marked, for a stated time after its last use: the whole prompt is
marked (the top-level `cache_control`, which moves on as the conversation grows), unless the caller
sets marks of its own.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct
from yarl import URL

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import OUTPUT_TOKENS_MAX
from orlop.abi.replies import Embedded, Generated
from orlop.devices.device import (
    ALONE,
    Sink,
    Turn,
)
from orlop.devices.remote import Remote
from orlop.devices.server import Heard, Response, Server
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.wire.anthropic import read_messages_response, write_messages_request
from orlop.wire.anthropic_stream import MessageStreamReader
from orlop.wire.openai_stream import whole

VERSION: Final = "2023-06-01"
OUTPUT_TOKENS: Final = 4_096
"""Where neither the call nor the list of models says how many: all models of this API can."""

_MARK: Final = b'"cache_control":'


class _Model(Struct, frozen=True):
    id: str
    max_tokens: int | None = None
    max_input_tokens: int | None = None


class _Models(Struct, frozen=True):
    data: list[_Model]


class Anthropic(Remote):
    """An `Engine`.

    url: as clients write it, without `/v1`.  cache: how long the prompt cache keeps a prompt, `5m`
    or `1h`; empty: nothing is marked.
    """

    def __init__(
        self,
        name: EngineName,
        url: str,
        *,
        clock: Clock,
        chance: Chance,
        key: str = "",
        slots: int = 16,
        cache: str = "5m",
        heard: Heard | None = None,
        driver: str = "anthropic",
    ) -> None:
        base = URL(url.rstrip("/"))
        base = base if base.name == "v1" else base / "v1"
        headers = {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})
        server = Server(name, base, clock=clock, chance=chance, headers=headers, heard=heard)
        super().__init__(server, clock=clock, slots=slots, driver=driver)
        self._cache = cache

    async def _listed(self, ends_s: float) -> tuple[ModelCard, ...]:
        url = (self.server.url / "models").with_query(limit="1000")
        try:
            response = await self.server.open("GET", url, None, ends_s)
            told = msgspec.json.decode(await self.server.read(response), type=_Models)
        except msgspec.MsgspecError as error:
            raise DeviceFailed(f"{self.name}'s list of models can't be read: {error}") from error
        return tuple(
            ModelCard(
                name=ModelName(model.id),
                engine=self.name,
                context_tokens=_positive(model.max_input_tokens),
                output_tokens_max=_positive(model.max_tokens),
            )
            for model in told.data
        )

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        body = self._marked(
            write_messages_request(
                call,
                model,
                stream=sink is not None,
                output_tokens_max=self._output_tokens(model),
            )
        )
        async with deadline(deadline_s, f"{self.name}'s answer"):
            with self._one_more():
                ends_s = self._clock.now_s() + deadline_s
                url = self.server.url / "messages"
                response = await self.server.open("POST", url, body, ends_s)
                if sink is None:
                    return read_messages_response(await self.server.read(response), self.name)
                return await self._stream(response, sink)

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        raise DeviceRefused(f"{self.name} makes no vectors: use another engine's model")

    def _output_tokens(self, model: ModelName) -> int:
        told = [card.output_tokens_max for card in self._models if card.name == model]
        return min(told[0] if told and told[0] else OUTPUT_TOKENS, OUTPUT_TOKENS_MAX)

    def _marked(self, body: bytes) -> bytes:
        """Marks of the caller's own stand: with others beside them the prefix would change."""
        if not self._cache or _MARK in body:
            return body
        mark: Mapping[str, object] = {"type": "ephemeral", "ttl": self._cache}
        return body[:-1] + b"," + msgspec.json.encode({"cache_control": mark})[1:]

    async def _stream(self, response: Response, sink: Sink) -> Generated:
        if response.content_type == "application/json":
            made = read_messages_response(await self.server.read(response), self.name)
            for choice in made.choices:
                sink(whole(choice))
            return made
        reader = MessageStreamReader(self.name)
        async with response, self.server.streamed(response) as pieces:
            async for piece in pieces:
                for delta in reader.feed(piece):
                    sink(delta)
                if reader.is_done:
                    await self.server.read_end(response)
                    break
        return reader.finish()


def _positive(told: int | None) -> int | None:
    """What is none can't be true: with it, each call would be too long."""
    return told if told is not None and told > 0 else None
