"""One HTTP exchange of a connector, bounded, and its failures told apart.

What matters is what is known afterwards: whether the other side was reached at all.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from orlop.abi.errors import DeadlineMissed, DeviceBusy, DeviceFailed
from orlop.abi.limits import ENGINE_CONNECT_S, TOOL_OUTPUT_BYTES_MAX
from orlop.machine.credential import hidden


@dataclass(frozen=True, slots=True)
class Answered:
    """headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outgoing:
    """A client of one system.  key: its credential, which no error shows."""

    def __init__(self, name: str, key: str = "") -> None:
        self._name = name
        self._key = key
        self._client: aiohttp.ClientSession | None = None

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit_s: float
    ) -> Answered:
        """Raises `DeviceBusy` where it was not reached, so that nothing has happened, and
        `DeviceFailed` or `DeadlineMissed` where nobody knows."""
        if self._client is None:
            self._client = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=ENGINE_CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            async with asyncio.timeout(limit_s):
                # What is behind a redirect is not the server that the operator has named.
                async with self._client.request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    answered = {name.lower(): value for name, value in response.headers.items()}
                    return Answered(response.status, answered, await self._read(response))
        except TimeoutError as error:
            raise DeadlineMissed(f"{self._name} took more than {limit_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise DeviceBusy(f"{self._name} can't be reached: {error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = hidden(str(error), self._key)
            raise DeviceFailed(f"{self._name} did not answer: {said}") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        self._client = None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        read = bytearray()
        async for piece in response.content.iter_any():
            read += piece
            if len(read) > TOOL_OUTPUT_BYTES_MAX:
                raise DeviceFailed(
                    f"{self._name} answered more than {TOOL_OUTPUT_BYTES_MAX} bytes "
                    "(TOOL_OUTPUT_BYTES_MAX)"
                )
        return bytes(read)
