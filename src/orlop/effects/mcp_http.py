"""An MCP server behind "streamable HTTP": one POST a request, answered whole or as a stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final

import aiohttp
from msgspec import Raw

from orlop.abi.errors import (
    BadCall,
    DeadlineMissed,
    DeviceBusy,
    DeviceFailed,
    KernelError,
    TooLarge,
)
from orlop.abi.limits import (
    ENGINE_CONNECT_S,
    ERROR_BYTES_MAX,
    MCP_UNASKED_MAX,
    TOOL_OUTPUT_BYTES_MAX,
)
from orlop.effects.asking import Asker, ask
from orlop.wire import mcp, sse
from orlop.wire.problem import retry_after_s

SESSION: Final = "mcp-session-id"
"""Of servers before 2026-07-28, which remember their clients."""

STREAM: Final = "text/event-stream"


class HttpLink:
    """`stirred` is set when the server has forgotten us, so that we introduce ourselves again."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], seats: int) -> None:
        self.version = ""
        self.stirred = asyncio.Event()
        self.lost: KernelError | None = None
        self.asker: Asker | None = None
        self._name = name
        self._url = url
        self._session_id = ""
        self._next_id = 0
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=seats + 1),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=ENGINE_CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"accept": f"application/json, {STREAM}", **headers},
            # What is behind a redirect is not the server that the operator has named.
            requote_redirect_url=False,
        )

    async def ask(self, method: str, params: Mapping[str, object], limit_s: float) -> Raw:
        """The result.  Raises `Refused`, `DeviceFailed`, `DeadlineMissed`; leaving cancels it."""
        if self.lost is not None:
            raise self.lost
        self._next_id += 1
        id = self._next_id
        body = mcp.request(id, method, params, self.version)
        try:
            async with asyncio.timeout(limit_s):
                told = await self._post(id, body, mcp.headers(method, params, self.version))
        except TimeoutError as error:
            raise DeadlineMissed(f"{self._name}: {method} took more than {limit_s:g} s") from error
        if told.error is not None:
            raise mcp.Refused(self._name, method, told.error)
        if not isinstance(told.result, Raw):
            raise DeviceFailed(f"{self._name} answered {method} with neither result nor error")
        return told.result

    async def tell(self, method: str) -> None:
        """A notification; servers answer it with 202 and nothing."""
        body = mcp.notification(method, {})
        try:
            async with self._request(body, mcp.headers(method, {}, self.version)) as response:
                await response.content.read(ERROR_BYTES_MAX)
        except (aiohttp.ClientError, OSError) as error:
            raise DeviceFailed(f"{self._name} did not answer: {error}") from error

    async def close(self) -> None:
        self.lost = self.lost or DeviceFailed(f"{self._name} was let go")
        await self._client.close()

    def _request(
        self, body: bytes, headers: Mapping[str, str]
    ) -> "aiohttp.client._RequestContextManager":
        known = {SESSION: self._session_id} if self._session_id else {}
        return self._client.post(
            self._url,
            data=body,
            headers={"content-type": "application/json", **known, **headers},
            allow_redirects=False,
        )

    async def _post(self, id: int, body: bytes, headers: Mapping[str, str]) -> mcp.Told:
        try:
            async with self._request(body, headers) as response:
                self._session_id = response.headers.get(SESSION, self._session_id)
                if response.status == 429:
                    told = {name.lower(): value for name, value in response.headers.items()}
                    raise DeviceBusy(
                        f"{self._name} is asked too often", retry_after_s=retry_after_s(told)
                    )
                if response.status == 404 and self._session_id:
                    self.lost = DeviceFailed(f"{self._name} has forgotten this client")
                    self.stirred.set()
                    raise self.lost
                async with aclosing(self._messages(response)) as messages:
                    return await self._answer(id, messages, response.status)
        except (aiohttp.ClientError, OSError) as error:
            raise DeviceFailed(f"{self._name} did not answer: {error}") from error

    async def _answer(self, id: int, messages: AsyncIterator[bytes], status: int) -> mcp.Told:
        unasked = 0
        async for message in messages:
            told = mcp.read(message)
            if told is not None and told.is_answer and told.id == id:
                return told
            if told is not None and told.error is not None and status >= 400:
                return told  # Refused before its id was read.
            if told is not None and told.method and told.id is not None:
                await self._respond(told)
                continue
            unasked += 1
            if unasked > MCP_UNASKED_MAX:
                raise DeviceFailed(
                    f"{self._name} sent {unasked} messages that nobody asked for (MCP_UNASKED_MAX)"
                )
        raise DeviceFailed(f"{self._name} answered {status} without an answer")

    async def _respond(self, told: mcp.Told) -> None:
        """To what the server wants to know while it serves a call."""
        body = mcp.reply(told)
        if told.method == mcp.ELICIT:
            asked = mcp.elicitation(told.params)
            body = mcp.answered(told.id, await ask(self.asker, self._name, asked))
        async with self._request(body, mcp.headers("", {}, self.version)) as response:
            await response.content.read(ERROR_BYTES_MAX)

    async def _messages(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        """Those of the body, whichever way it comes, within bounds."""
        is_stream = response.content_type == STREAM
        reader, whole, size = sse.Reader(), bytearray(), 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > TOOL_OUTPUT_BYTES_MAX:
                raise DeviceFailed(
                    f"{self._name} answered more than {TOOL_OUTPUT_BYTES_MAX} bytes "
                    "(TOOL_OUTPUT_BYTES_MAX)"
                )
            if not is_stream:
                whole += piece
                continue
            try:
                for event in reader.feed(piece):
                    yield event.data
            except (TooLarge, BadCall) as error:
                raise DeviceFailed(f"{self._name}: {error.message}") from error
        if whole:
            yield bytes(whole)
