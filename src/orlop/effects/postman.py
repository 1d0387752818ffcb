"""Signed messages to where the operator's people read them: one POST each, its answer unread."""

from collections.abc import Mapping

import aiohttp

from orlop.abi.errors import DeadlineMissed, DeviceFailed
from orlop.abi.limits import ENGINE_CONNECT_S, WEBHOOK_ANSWER_S, WEBHOOKS_AT_ONCE_MAX


class Postman:
    """`post` opens the connections when the first message goes out."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer.  Raises `DeviceFailed`, `DeadlineMissed`."""
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=WEBHOOKS_AT_ONCE_MAX),
                timeout=aiohttp.ClientTimeout(
                    total=WEBHOOK_ANSWER_S, sock_connect=ENGINE_CONNECT_S
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            # What is behind a redirect is not the receiver that the operator has named.
            async with self._client.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status
        except TimeoutError as error:
            raise DeadlineMissed(f"{url} took more than {WEBHOOK_ANSWER_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeviceFailed(f"{url} did not answer: {error}") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
