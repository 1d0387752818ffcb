"""Servers outside, asked once: what programs in sandboxes send, and the `fetch` call.

A name is never led back to this machine: one that means loopback, or a link without a router (where
clouds keep their machines' credentials), is refused unless the rule names that very address.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from orlop.abi.egress import Answered, Begun, Fetch, Headers, Onward, is_here, streams
from orlop.abi.errors import DeadlineMissed, DeviceFailed
from orlop.abi.limits import (
    EGRESS_CONNECT_S,
    EGRESS_CONNECTIONS_MAX,
    FETCH_BODY_BYTES_MAX,
    FETCH_CHUNKS_MAX,
)

HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("proxy-connection", "trailer", "transfer-encoding", "upgrade", "content-length"),
    }
)
"""Headers of one connection, and not of what is asked or said."""

OURS: Final = ("user-agent", "accept", "accept-encoding", "content-type")
"""What the library would add by itself."""

KEY: Final = "idempotency-key"

BARE: Final = (204, 304)
"""Statuses of answers without a body."""


class Outward(AbstractResolver):
    """Names to addresses, all of which must be of other machines."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family
        )
        results: list[ResolveResult] = []
        for kind, _, protocol, _, address in found:
            require_outside(host, str(address[0]))
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        return None


def require_outside(host: str, address: str) -> None:
    """Raises `OSError`."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or found
    barred = inner.is_loopback or inner.is_link_local or inner.is_unspecified or inner.is_multicast
    if barred and not is_here(host):
        raise OSError(f"{host} leads to {address}, which is this machine or its link")


class Web:
    """certificates: a file of authorities to trust beside the system's own; empty: none."""

    def __init__(self, certificates: str = "") -> None:
        self._certificates = certificates
        self._session: aiohttp.ClientSession | None = None
        self._trust: ssl.SSLContext | None = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._trust = ssl.create_default_context()
            if self._certificates:
                self._trust.load_verify_locations(self._certificates)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=Outward(),
                    ssl=self._trust,
                    limit=EGRESS_CONNECTIONS_MAX,
                    limit_per_host=0,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=EGRESS_CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=OURS,
                requote_redirect_url=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(
        self,
        call: Fetch,
        key: str,
        limit_s: float,
        onward: Callable[[Onward], None] | None = None,
    ) -> Answered:
        """Once; redirects are the caller's to follow.  onward: is given an answer that streams,
        head first, as it comes.  Raises `DeviceFailed`, `DeadlineMissed`."""
        headers = CIMultiDict(sent(call, key))
        try:
            async with (
                asyncio.timeout(limit_s),
                self._opened().request(
                    call.method,
                    URL(call.url, encoded=True),
                    headers=headers,
                    data=call.body or None,
                    allow_redirects=False,
                ) as response,
            ):
                headers_told = plain(response.headers, call.method)
                if call.method == "HEAD" or response.status in BARE or not streams(headers_told):
                    body = b"".join([piece async for piece in self._pieces(call, response)])
                    return Answered(response.status, headers_told, body)
                onward = onward or nowhere
                onward(Begun(response.status, headers_told))
                pieces: list[bytes] = []
                async for piece in self._pieces(call, response):
                    pieces.append(piece)
                    onward(piece)
                return Answered(response.status, headers_told, b"".join(pieces), boundaries(pieces))
        except TimeoutError as error:
            raise DeadlineMissed(f"{call.url[:200]} took more than {limit_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = str(error) or type(error).__name__
            raise DeviceFailed(f"{call.method} {call.url[:200]}: {said}") from error

    async def _pieces(self, call: Fetch, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        size = 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > FETCH_BODY_BYTES_MAX:
                raise DeviceFailed(
                    f"{call.url[:200]} answered more than {FETCH_BODY_BYTES_MAX} bytes "
                    "(FETCH_BODY_BYTES_MAX); `--net HOST=tunnel` lets it through unrecorded"
                )
            if piece:
                yield piece

    async def tunnel(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection whose bytes are nobody's business.  Raises `DeviceFailed`."""
        try:
            async with asyncio.timeout(EGRESS_CONNECT_S):
                for found in await Outward().resolve(host, port, socket.AF_UNSPEC):
                    return await asyncio.open_connection(found["host"], found["port"])
        except (TimeoutError, OSError) as error:
            raise DeviceFailed(f"{host}:{port} can't be reached: {error}") from error
        raise DeviceFailed(f"{host} has no address")


def nowhere(piece: Onward) -> None:
    """Whoever asks wants the whole."""


def boundaries(pieces: Sequence[bytes]) -> tuple[int, ...]:
    """The pieces' lengths; past the bound all that follows is one."""
    lengths = [len(piece) for piece in pieces]
    first, rest = lengths[:FETCH_CHUNKS_MAX], lengths[FETCH_CHUNKS_MAX:]
    return (*first, sum(rest)) if rest else tuple(first)


def sent(call: Fetch, key: str) -> Sequence[tuple[str, str]]:
    """All headers, those of one connection left out; the effect's key where the caller has none."""
    given = (*call.headers, *call.carried)
    told = [(name, value) for name, value in given if name.lower() not in (*HOP, "host", "expect")]
    if key and not any(name == KEY for name, _ in told):
        told.append((KEY, key))
    return told


def plain(headers: Mapping[str, str], method: str) -> Headers:
    """Without those of one connection; a HEAD's length is what it was asked for."""
    left_out = HOP - {"content-length"} if method == "HEAD" else HOP
    told = ((name.lower(), value) for name, value in headers.items())
    return tuple((name, value) for name, value in told if name not in left_out)
