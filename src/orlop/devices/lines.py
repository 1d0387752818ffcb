"""The connections to one server: kept while they are idle, made when there is none.

How many there are is up to who asks: engines are asked by their seats.  This is not a library's
client because half of what that does for a call (redirects, cookies, proxies, tracing, a timer and
a session a call) is nothing that an engine needs, and costs more than the rest of its way there.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Final

from yarl import URL

from orlop.abi.errors import Misconfigured
from orlop.abi.limits import ENGINE_CONNECT_S
from orlop.devices.line import Answer, Line

KEPT_S: Final = 60.0
"""How long an idle connection is kept."""

_PROBES: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""An engine may think for long without a word, but its machine answers within a minute, or is lost:
without power it closes no connection.  Names, because not every system has all three."""


class Lines:
    """url: its scheme, host and port are the server's.  headers: of everything that is asked.

    Raises `Misconfigured` where those can't be sent.
    """

    def __init__(self, url: URL, headers: Mapping[str, str]) -> None:
        self._host = url.raw_host or "localhost"
        self._port = url.port or 80
        self._is_tls = url.scheme == "https"
        self._head = _head(url, headers)
        self._idle: list[tuple[float, Line]] = []
        """With the time since when; the newest last."""
        self._busy: set[Line] = set()
        self._address = ""
        """The one that was reached last."""
        self._sweep: asyncio.TimerHandle | None = None

    async def ask(self, method: str, url: URL, body: bytes | None) -> Answer:
        """The answer's status and headers; its body is to be read.  Raises `OSError`."""
        line = self._kept() or await self._open()
        self._busy.add(line)
        answer = line.ask(self._order(method, url, body))
        try:
            await answer.begun()
        except BaseException:
            answer.close()
            raise
        return answer

    def close(self) -> None:
        """All of them, also those that are being used."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for line in [*(line for _, line in self._idle), *self._busy]:
            line.close()
        self._idle.clear()

    def _order(self, method: str, url: URL, body: bytes | None) -> bytes:
        start = f"{method} {url.raw_path_qs} HTTP/1.1\r\n".encode("ascii")
        if body is None and method == "GET":
            return b"%b%b\r\n" % (start, self._head)
        body = body or b""
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (start, self._head, len(body), body)

    def _kept(self) -> Line | None:
        """The one used last: the others may age, and go."""
        while self._idle:
            _, line = self._idle.pop()
            if line.is_open:
                return line
        return None

    async def _open(self) -> Line:
        """Raises `OSError`."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(str(place[4][0]) for place in found)
        failed: OSError = OSError(f"{self._host} has no address")
        # Where one way leads nowhere, there must be time for the other; the next call knows.
        for address in sorted(addresses, key=lambda one: one != self._address):
            try:
                async with asyncio.timeout(ENGINE_CONNECT_S / len(addresses)):
                    transport, line = await loop.create_connection(
                        lambda: Line(self._let_go, self._lost),
                        address,
                        self._port,
                        ssl=trusted() if self._is_tls else None,
                        server_hostname=self._host if self._is_tls else None,
                    )
            except TimeoutError:
                failed = OSError(f"no connection within {ENGINE_CONNECT_S / len(addresses):g} s")
            except OSError as error:
                failed = error
            else:
                self._address = address
                _notice_death(transport)
                return line
        raise failed

    def _let_go(self, line: Line) -> None:
        loop = asyncio.get_running_loop()
        self._busy.discard(line)
        self._idle.append((loop.time(), line))
        if self._sweep is None:
            self._sweep = loop.call_later(KEPT_S, self._sweep_out)

    def _lost(self, line: Line) -> None:
        self._busy.discard(line)

    def _sweep_out(self) -> None:
        """Close those that nobody has used for long."""
        loop = asyncio.get_running_loop()
        self._sweep = None
        kept = []
        for since_s, line in self._idle:
            if line.is_open and loop.time() - since_s < KEPT_S:
                kept.append((since_s, line))
            else:
                line.close()
        self._idle = kept
        if kept:
            self._sweep = loop.call_later(kept[0][0] + KEPT_S - loop.time(), self._sweep_out)


def _notice_death(transport: asyncio.BaseTransport) -> None:
    held = transport.get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        if (option := getattr(socket, name, None)) is not None:
            held.setsockopt(socket.IPPROTO_TCP, option, value)


@cache
def trusted() -> ssl.SSLContext:
    """The system's authorities, read once for all engines: that takes some 40 ms of the loop."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _head(url: URL, headers: Mapping[str, str]) -> bytes:
    """The lines that every order has."""
    sent = {"host": url.host_port_subcomponent or "localhost", "user-agent": "orlop"}
    sent |= {"accept": "*/*"}
    if url.user is not None:
        pair = f"{url.user}:{url.password or ''}".encode()
        sent["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    sent |= {name.lower(): value for name, value in headers.items()}
    for name, value in sent.items():
        if not f"{name}{value}".isprintable() or not name.isascii():
            raise Misconfigured(f"header {name!r} of {url.host}: it can't be sent as it is")
    return "".join(f"{name}: {value}\r\n" for name, value in sent.items()).encode("utf-8")
