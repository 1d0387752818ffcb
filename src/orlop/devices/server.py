"""An engine behind HTTP: asking, asking again, reading within bounds.  All remote drivers use it.

A call is asked again only before the server has answered 200: after that it may be paid for.
Whatever goes wrong is a `KernelError` with the engine's name and its own words.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final, TypeAlias

from yarl import URL

from orlop.abi.cards import Health
from orlop.abi.errors import BadCall, DeviceBusy, DeviceFailed, KernelError
from orlop.abi.ids import EngineName
from orlop.abi.limits import (
    BODY_BYTES_MAX,
    ENGINE_RETRIES_MAX,
    ENGINE_RETRY_DELAY_S,
    ERROR_BYTES_MAX,
)
from orlop.devices.line import Answer, Lost
from orlop.devices.lines import Lines
from orlop.machine import redaction
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.wire import coding, problem

_END_S: Final = 0.5
"""For a stream's last bytes after its end: a connection that was read to its end is reused."""

Heard: TypeAlias = Callable[[int, Mapping[str, str]], None]

Response: TypeAlias = Answer
"""Status and headers are here; the body is to be read, or the context to be left."""


class Server:
    """One server, its connections, and how it is: `health` and `reason` are as last seen.

    heard: told the status and the headers of each answer, also of refusals; who is told so decides
    when a call that was refused comes again.
    """

    def __init__(
        self,
        name: EngineName,
        url: URL,
        *,
        clock: Clock,
        chance: Chance,
        headers: Mapping[str, str],
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
        self._heard = heard
        self._lines: Lines | None = None

    async def start(self) -> None:
        if self._lines is None:
            self._lines = Lines(self.url, self._headers)

    async def close(self) -> None:
        self.health, self.reason = "gone", "closed"
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def ailing(self, reason: str) -> None:
        self.health, self.reason = "failing", reason

    async def open(self, method: str, url: URL, body: bytes | None, ends_s: float) -> Response:
        """A response with status 200, its body unread; asks again while that may help."""
        attempt = 0
        while True:
            answer = await self._ask(method, url, body)
            if isinstance(answer, Response):
                self.health, self.reason = "ready", ""
                return answer
            delay_s = self._delay_s(answer, attempt)
            is_late = self._clock.now_s() + delay_s >= ends_s
            is_theirs = self._heard is not None and isinstance(answer, DeviceBusy)
            if not answer.retry or attempt == ENGINE_RETRIES_MAX or is_late or is_theirs:
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
            if not isinstance(answer, Response):
                raise answer
            return await self.read(answer)

    def at(self, path: str) -> URL:
        """A path of the server itself: beside `/v1` or `/v2`, where its dialect's paths begin."""
        root = self.url.parent if self.url.name in ("v1", "v2") else self.url
        bare, _, query = path.partition("?")
        return (root / bare).with_query(query or None)

    async def read(self, response: Response) -> bytes:
        async with response:
            try:
                body = await response.read(BODY_BYTES_MAX + 1)
            except OSError as error:
                raise self._cut_off(error) from error
        if len(body) > BODY_BYTES_MAX:
            raise DeviceFailed(f"{self.name} answered more than BODY_BYTES_MAX bytes")
        try:
            body = coding.unpacked(response.coding, body, BODY_BYTES_MAX)
        except BadCall as error:  # Of ours, it would be; the engine was not asked to pack it.
            raise DeviceFailed(f"{self.name}'s answer: {error.message}") from error
        if problem.is_page(body):
            raise self._strange(body)
        return body

    async def pieces(self, response: Response) -> AsyncGenerator[bytes]:
        """A stream as it comes.  Use it through `streamed`."""
        if response.coding:
            raise DeviceFailed(f"{self.name} packs its streams ({response.coding})")
        if response.content_type == "text/html":
            raise self._strange((await response.read(ERROR_BYTES_MAX))[:ERROR_BYTES_MAX])
        try:
            while piece := await response.piece():
                yield piece
        except OSError as error:
            raise self._cut_off(error) from error

    def streamed(self, response: Response) -> "aclosing[AsyncGenerator[bytes]]":
        return aclosing(self.pieces(response))

    async def read_end(self, response: Response) -> None:
        """A stream has said all: let the connection be used again if it ends at once."""
        try:
            async with asyncio.timeout(_END_S):
                await response.piece()
        except TimeoutError:
            pass  # It keeps the connection open; leaving closes it.
        except OSError as error:
            raise self._cut_off(error) from error

    async def _ask(self, method: str, url: URL, body: bytes | None) -> Response | KernelError:
        """Once.  An error is returned, with its cause, for the caller to judge."""
        if self._lines is None:
            return DeviceFailed(f"{self.name} is not started")
        failure: KernelError
        try:
            response = await self._lines.ask(method, url, body)
            if self._heard is not None:
                self._heard(response.status, response.headers)
            if response.status == 200:
                return response
            async with response:
                if 300 <= response.status < 400:
                    return self._moved(response)
                told = problem.read_told((await response.read(ERROR_BYTES_MAX))[:ERROR_BYTES_MAX])
                failure = problem.engine_problem(self.name, response.status, response.headers, told)
        except OSError as error:
            failure = DeviceFailed(f"{self.name} did not answer at {self.url}: {_say(error)}")
            failure.__cause__ = error
        return failure

    def _moved(self, response: Response) -> DeviceFailed:
        """A key is sent nowhere but where its owner wrote it."""
        where = response.headers.get("location", "another place")[:200]
        return DeviceFailed(
            f"{self.name} answered {response.status}: it is at {where}; if that is an engine, "
            "write it in orlop.toml"
        )

    def _strange(self, page: bytes) -> DeviceFailed:
        """What a proxy, a portal or another kind of server says."""
        said = problem.read_told(page).message
        return DeviceFailed(
            f"{self.name} answered a page, which no engine does: {said[:200]!r}; is its `url` "
            "in orlop.toml right?"
        )

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
    return isinstance(cause, Lost) and cause.unheard


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
