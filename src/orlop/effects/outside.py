"""The world outside, for whoever asks it first: most kernels ask nobody, and load no client."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from orlop.abi.egress import Answered, Fetch, Onward


class Client(Protocol):
    """`effects.web.Web`."""

    async def fetch(
        self, call: Fetch, key: str, limit_s: float, onward: Callable[[Onward], None] | None
    ) -> Answered: ...

    async def tunnel(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...

    async def close(self) -> None: ...


class Outside:
    """A `Client`.  certificates: a file of authorities to trust beside the system's own."""

    def __init__(self, certificates: str = "") -> None:
        self._certificates = certificates
        self._client: Client | None = None

    async def fetch(
        self,
        call: Fetch,
        key: str,
        limit_s: float,
        onward: Callable[[Onward], None] | None = None,
    ) -> Answered:
        """Raises `DeviceFailed`, `DeadlineMissed`."""
        return await self._opened().fetch(call, key, limit_s, onward)

    async def tunnel(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises `DeviceFailed`."""
        return await self._opened().tunnel(host, port)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _opened(self) -> Client:
        if self._client is None:
            from orlop.effects.web import Web

            self._client = Web(self._certificates)
        return self._client
