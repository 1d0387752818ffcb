"""The asynchronous way to a kernel, over aiohttp."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp

from orlop.abi.errors import KernelError
from orlop.abi.limits import BODY_BYTES_MAX, CALL_DEADLINE_S_MAX, CONNECT_S
from orlop.machine.clock import SystemClock
from orlop.sdk.exchange import Answer, LostAnswer, Order, headers, read_error
from orlop.sdk.patience import Patience
from orlop.sdk.place import Place

IDLE_S_MAX = 2.0
"""Idle connections are dropped before the server drops them: an order sent into a closing
connection could not be told from one that was served."""

SILENCE_S_MAX = CALL_DEADLINE_S_MAX + 60.0
"""The kernel ends every call at its deadline; a longer silence is a lost connection."""


class AsyncLink:
    """Sends orders to one kernel, again where an answer was lost.  `open` it first."""

    def __init__(self, place: Place, patience_s: float) -> None:
        self._place = place
        self._patience_s = patience_s
        self._clock = SystemClock()
        self._root = "http://localhost" if place.socket else place.url
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        path = self._place.socket
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path, limit=0, keepalive_timeout=IDLE_S_MAX)
            if path
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S_MAX),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S_MAX
            ),
            read_bufsize=BODY_BYTES_MAX,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def patience(self, order: Order) -> Patience:
        return Patience(self._place, order, self._patience_s, is_agent=True)

    async def pause_after(self, failure: LostAnswer | KernelError, patience: Patience) -> None:
        """Wait before the next attempt, or raise what ends the order."""
        await self._clock.sleep(patience.after(failure, self._clock.now_s()))

    async def ask(self, order: Order) -> Answer:
        """The whole answer.  Raises the kernel's error, or `NoKernel`."""
        patience = self.patience(order)
        while True:
            try:
                async with self.opened(order, again=patience.again) as response:
                    return Answer(response.status, await response.read())
            except (LostAnswer, KernelError) as failure:
                await self.pause_after(failure, patience)

    @asynccontextmanager
    async def opened(self, order: Order, *, again: bool) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A response without an error.  Raises `LostAnswer`, or the kernel's error."""
        if self._session is None:
            raise LostAnswer("not connected: use `async with orlop.connect()`", sent=False)
        try:
            async with self._session.request(
                order.method,
                self._root + order.path,
                data=order.body,
                headers=headers(self._place, order, again=again),
            ) as response:
                if response.status >= 400:
                    raise read_error(response.status, await response.read())
                yield response
        except aiohttp.ClientConnectorError as error:
            raise LostAnswer(str(error), sent=False) from error
        except aiohttp.ClientError as error:
            raise LostAnswer(f"the connection broke: {error}", sent=True) from error
