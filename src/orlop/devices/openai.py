"""Any OpenAI-compatible server as an engine, over aiohttp; other drivers add their words to it.

A call is asked again only before the server has answered 200: after that it may be paid for.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace
from yarl import URL

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.ids import EngineName, ModelName
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
from orlop.wire.openai import read_chat_response, write_chat_request
from orlop.wire.openai_embed import read_embed_response, read_models, write_embed_request
from orlop.wire.openai_legacy import write_text_request
from orlop.wire.openai_stream import ChatStreamReader, whole
from orlop.wire.token_trace import TokenTrace

SLOTS: Final = 16
"""Calls at once where nobody says how many."""

_PATHS: Final = ("models", "chat/completions", "completions", "embeddings")

Words: TypeAlias = Callable[[Infer, Turn], Mapping[str, object]]
"""What a kind of server is told beside the call: where it goes in the queue, whose it is."""


def no_words(call: Infer, turn: Turn) -> Mapping[str, object]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How one kind of server differs from all others.

    limit_field: `max_completion_tokens` for OpenAI's own newer models.
    tiers: pass latency classes on as `service_tier`.
    own_fields: fields that only the kernel may write: callers' are left out.
    """

    driver: str = "openai"
    words: Words = no_words
    own_fields: Collection[str] = ()
    limit_field: str = "max_tokens"
    tiers: bool = False
    heard: Heard | None = None


PLAIN: Final = Manner()


class OpenAI(Remote):
    """An `Engine`.

    url: as clients write it, with `/v1`; a bare host gets that added.
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
        slots: int = SLOTS,
        manner: Manner = PLAIN,
    ) -> None:
        base = URL(url)
        base = base / "v1" if base.path in ("", "/") else URL(url.rstrip("/"))
        sent = dict(headers or {})
        if key:
            sent["authorization"] = f"Bearer {key}"
        server = Server(
            name,
            base,
            clock=clock,
            chance=chance,
            headers=sent,
            heard=manner.heard,
        )
        super().__init__(server, clock=clock, slots=slots, driver=manner.driver)
        self._urls = {path: base / path for path in _PATHS}
        self._manner = manner

    async def _listed(self, ends_s: float) -> tuple[ModelCard, ...]:
        response = await self.server.open("GET", self._urls["models"], None, ends_s)
        return read_models(await self.server.read(response), self.name)

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        return await self.leg(call, model, sink, deadline_s, turn)

    async def leg(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn,
        trace: TokenTrace | None = None,
    ) -> Generated:
        """One call as it goes over the wire.  trace: ask for token ids, and tell them here."""
        path = "chat/completions" if call.prompt is None else "completions"
        body = self._body(call, model, turn, stream=sink is not None, traced=trace is not None)
        async with deadline(deadline_s, f"{self.name}'s answer"):
            with self._one_more():
                ends_s = self._clock.now_s() + deadline_s
                response = await self.server.open("POST", self._urls[path], body, ends_s)
                if sink is None:
                    return read_chat_response(await self.server.read(response), self.name)
                return await self._stream(response, sink, trace)

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        body = write_embed_request(call, model)
        async with deadline(deadline_s, f"{self.name}'s vectors"):
            with self._one_more():
                ends_s = self._clock.now_s() + deadline_s
                response = await self.server.open("POST", self._urls["embeddings"], body, ends_s)
                return read_embed_response(await self.server.read(response), len(call.inputs))

    def _body(
        self, call: Infer, model: ModelName, turn: Turn, *, stream: bool, traced: bool
    ) -> bytes:
        manner = self._manner
        if any(name in call.extra for name in manner.own_fields):
            kept = {k: held for k, held in call.extra.items() if k not in manner.own_fields}
            call = replace(call, extra=kept)
        write = write_chat_request if call.prompt is None else write_text_request
        body = write(call, model, stream=stream, limit_field=manner.limit_field, tiers=manner.tiers)
        words = manner.words(call, turn)
        if traced:
            words = {**words, "return_token_ids": True}
        # A conversation may be megabytes long: it is not taken apart again for a few words.
        return body[:-1] + b"," + msgspec.json.encode(words)[1:] if words else body

    async def _stream(self, response: Response, sink: Sink, trace: TokenTrace | None) -> Generated:
        if response.content_type == "application/json":
            return _pass_whole(
                read_chat_response(await self.server.read(response), self.name), sink
            )
        reader = ChatStreamReader(self.name, trace)
        async with response, self.server.streamed(response) as pieces:
            async for piece in pieces:
                for delta in reader.feed(piece):
                    sink(delta)
                if reader.is_done:
                    await self.server.read_end(response)
                    break
        return reader.finish()


def _pass_whole(generated: Generated, sink: Sink) -> Generated:
    """Some servers answer a wish for a stream in one piece."""
    for choice in generated.choices:
        sink(whole(choice))
    return generated
