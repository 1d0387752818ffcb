"""An engine behind HTTP: asking, asking again, reading within bounds.  All remote drivers use it.

A call is asked again only before the server has answered 200: after that it may be paid for.
Whatever goes wrong is a `KernelError` with the engine's name and its own words.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final, TypeAlias

import aiohttp
from yarl import URL

from orlop.abi.cards import Health
from orlop.abi.errors import DeviceBusy, DeviceFailed, KernelError
from orlop.abi.ids import EngineName
from orlop.abi.limits import (
    BODY_BYTES_MAX,
    ENGINE_CONNECT_S,
    ENGINE_RETRIES_MAX,
    ENGINE_RETRY_DELAY_S,
    ERROR_BYTES_MAX,
)
from orlop.machine import redaction
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.wire import problem

_END_S: Final = 0.5
"""For a stream's last bytes after its end: a connection that was read to its end is reused."""

_KEPT_S: Final = 60.0
"""How long an idle connection is kept."""


Heard: TypeAlias = Callable[[int, Mapping[str, str]], None]

Response: TypeAlias = aiohttp.ClientResponse
"""So that drivers need not know which library this is."""


class Server:
    """One server, its connections, and how it is: `health` and `reason` are as last seen.

    seats: calls at once; one connection more is for looking at it while all seats are taken.
    heard: told the status and the headers of each answer, also of refusals.
    """

    def __init__(
        self,
        name: EngineName,
        url: URL,
        *,
        clock: Clock,
        chance: Chance,
        headers: Mapping[str, str],
        seats: int,
        heard: Heard | None = None,
    ) -> None:
        self.name = name
        self.url = url
        self.health: Health = "starting"
        self.reason = "not asked yet"
        self._clock = clock
        self._chance = chance
        # Compressing answers costs the engine more time than it saves on any network near it.
        own = {"content-type": "application/json", "accept-encoding": "identity"}
        self._headers = {**own, **headers}
        self._seats = seats
        self._heard = heard
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._seats + 1, keepalive_timeout=_KEPT_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=ENGINE_CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
            )

    async def close(self) -> None:
        self.health, self.reason = "gone", "closed"
        if self._session is not None:
            await self._session.close()
            self._session = None

    def ailing(self, reason: str) -> None:
        self.health, self.reason = "failing", reason

    async def open(
        self, method: str, url: URL, body: bytes | None, ends_s: float
    ) -> aiohttp.ClientResponse:
        """A response with status 200, its body unread; asks again while that may help."""
        attempt = 0
        while True:
            answer = await self._ask(method, url, body)
            if isinstance(answer, aiohttp.ClientResponse):
                self.health, self.reason = "ready", ""
                return answer
            delay_s = self._delay_s(answer, attempt)
            is_late = self._clock.now_s() + delay_s >= ends_s
            if not answer.retry or attempt == ENGINE_RETRIES_MAX or is_late:
                break
            attempt += 1
            await self._clock.sleep(delay_s)
        redaction.clean(answer)  # Some tell the key back that they were called with.
        if isinstance(answer, DeviceFailed) and not isinstance(answer, DeviceBusy):
            self.ailing(answer.message)
        raise answer

    async def look(
        self, path: str, limit_s: float, *, method: str = "GET", body: bytes | None = None
    ) -> bytes:
        """For what is no call and may be done twice: metrics, lists, loads.  Health stays as it is.

        Raises `DeviceRefused` where the server has no such thing, `DeviceFailed` or
        `DeadlineMissed` where it does not say.
        """
        async with deadline(limit_s, f"{self.name}'s {path}"):
            answer = await self._ask(method, self.at(path), body)
            if isinstance(answer, DeviceFailed) and _was_kept(answer.__cause__):
                answer = await self._ask(method, self.at(path), body)
            if not isinstance(answer, aiohttp.ClientResponse):
                raise answer
            return await self.read(answer)

    def at(self, path: str) -> URL:
        """A path of the server itself: beside `/v1` or `/v2`, where its dialect's paths begin."""
        root = self.url.parent if self.url.name in ("v1", "v2") else self.url
        bare, _, query = path.partition("?")
        return (root / bare).with_query(query or None)

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        async with response:
            try:
                if (response.content_length or BODY_BYTES_MAX + 1) <= BODY_BYTES_MAX:
                    return await response.read()
                pieces = bytearray()
                async for piece in response.content.iter_any():
                    pieces += piece
                    if len(pieces) > BODY_BYTES_MAX:
                        raise DeviceFailed(f"{self.name} answered more than BODY_BYTES_MAX bytes")
                return bytes(pieces)
            except (aiohttp.ClientError, OSError) as error:
                raise self._cut_off(error) from error

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        """A stream as it comes.  Use it through `streamed`."""
        try:
            async for piece in response.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise self._cut_off(error) from error

    def streamed(self, response: aiohttp.ClientResponse) -> "aclosing[AsyncGenerator[bytes]]":
        return aclosing(self.pieces(response))

    async def read_end(self, response: aiohttp.ClientResponse) -> None:
        """A stream has said all: let the connection be used again if it ends at once."""
        try:
            async with asyncio.timeout(_END_S):
                await response.content.readany()
        except TimeoutError:
            pass  # It keeps the connection open; leaving closes it.
        except (aiohttp.ClientError, OSError) as error:
            raise self._cut_off(error) from error

    async def _ask(
        self, method: str, url: URL, body: bytes | None
    ) -> aiohttp.ClientResponse | KernelError:
        """Once.  An error is returned, with its cause, for the caller to judge."""
        if self._session is None:
            return DeviceFailed(f"{self.name} is not started")
        try:
            response = await self._session.request(method, url, data=body)
            if self._heard is not None:
                self._heard(response.status, response.headers)
            if response.status == 200:
                return response
            async with response:
                told = problem.read_told(await response.content.read(ERROR_BYTES_MAX))
                failure = problem.engine_problem(self.name, response.status, response.headers, told)
        except (aiohttp.ClientError, OSError) as error:
            failure = DeviceFailed(f"{self.name} did not answer at {self.url}: {_say(error)}")
            failure.__cause__ = error
        return failure

    def _delay_s(self, failure: KernelError, attempt: int) -> float:
        """As the engine says; else doubling, half of it by chance so that callers part ways."""
        if failure.retry_after_s is not None:
            return failure.retry_after_s
        return float(ENGINE_RETRY_DELAY_S * 2**attempt * (0.5 + self._chance.uniform() / 2))

    def _cut_off(self, error: Exception) -> DeviceFailed:
        failure = DeviceFailed(f"{self.name} cut its answer off: {_say(error)}")
        self.ailing(failure.message)
        return failure


def _was_kept(cause: BaseException | None) -> bool:
    """The server had closed a connection that we had kept."""
    return isinstance(cause, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
