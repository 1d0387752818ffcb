"""The synchronous way to a kernel: one HTTP exchange a connection, over a Unix socket or TCP.

Written on `socket` and `httptools`, since `http.client` alone takes half of `orlop ps`'s time to
load.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import httptools

from orlop.abi.errors import KernelError, Misconfigured
from orlop.abi.limits import CALL_DEADLINE_S_MAX, CONNECT_S
from orlop.machine import plain_clock
from orlop.sdk.exchange import Answer, LostAnswer, Order, headers, read_error
from orlop.sdk.patience import Patience, always
from orlop.sdk.place import Place

READ_BYTES = 64 * 1024
SILENCE_S_MAX = CALL_DEADLINE_S_MAX + 60.0
"""The kernel ends every call at its deadline; a longer silence is a lost connection."""


class Link:
    """Sends orders to one kernel, again where an answer was lost."""

    def __init__(
        self,
        place: Place,
        patience_s: float,
        rises: Callable[[], bool] = always,
        *,
        is_agent: bool = False,
    ) -> None:
        self._place = place
        self._patience_s = patience_s
        self._rises = rises
        self._is_agent = is_agent

    def patience(self, order: Order) -> Patience:
        limit_s, is_agent = self._patience_s, self._is_agent
        return Patience(self._place, order, limit_s, self._rises, is_agent=is_agent)

    def pause_after(self, failure: LostAnswer | KernelError, patience: Patience) -> None:
        """Wait before the next attempt, or raise what ends the order."""
        plain_clock.pause(patience.after(failure, plain_clock.now_s()))

    def ask(self, order: Order) -> Answer:
        """The whole answer.  Raises the kernel's error, or `NoKernel`."""
        patience = self.patience(order)
        while True:
            try:
                with self.opened(order, again=patience.again) as exchange:
                    return Answer(exchange.status, b"".join(exchange.pieces()))
            except (LostAnswer, KernelError) as failure:
                self.pause_after(failure, patience)

    @contextmanager
    def opened(self, order: Order, *, again: bool) -> "Iterator[Exchange]":
        """A response without an error.  Raises `LostAnswer`, or the kernel's error."""
        with closing(Exchange(_connect(self._place))) as exchange:
            exchange.send(order, headers(self._place, order, again=again))
            if exchange.status >= 400:
                raise read_error(exchange.status, b"".join(exchange.pieces()))
            yield exchange


class Exchange:
    """One request and its response on one connection; the parser calls the `on_` methods."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._has_head = False
        self._is_whole = False

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    def send(self, order: Order, fields: dict[str, str]) -> None:
        """Returns when the response's headers have come."""
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = (
            f"{order.method} {order.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Length: {len(order.body)}\r\n{head}\r\n"
        )
        try:
            self._stream.sendall(request.encode("latin-1") + order.body)
        except OSError as error:
            raise LostAnswer(f"the connection broke: {error}", sent=True) from error
        while not self._has_head:
            self._read()

    def pieces(self) -> Iterator[bytes]:
        """The response's body as it comes."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if self._is_whole:
                return
            self._read()

    def lines(self) -> Iterator[bytes]:
        """The body's lines that are not empty, without their ends."""
        rest = b""
        for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            yield from filter(None, lines)
        if rest:
            yield rest

    def close(self) -> None:
        self._stream.close()

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self._is_whole = True

    def _read(self) -> None:
        try:
            data = self._stream.recv(READ_BYTES)
        except OSError as error:
            raise LostAnswer(f"the connection broke: {error}", sent=True) from error
        if not data:
            raise LostAnswer("the kernel closed the connection before its answer", sent=True)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise LostAnswer(f"what came back is not HTTP: {error}", sent=True) from error


def _connect(place: Place) -> socket.socket:
    try:
        stream = _connect_unix(place.socket) if place.socket else _connect_tcp(place.url)
    except OSError as error:
        raise LostAnswer(str(error), sent=False) from error
    stream.settimeout(SILENCE_S_MAX)
    return stream


def _connect_unix(path: str) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.settimeout(CONNECT_S)
        stream.connect(path)
    except OSError:
        stream.close()
        raise
    return stream


def _connect_tcp(url: str) -> socket.socket:
    """Raises `Misconfigured` for a URL that is none, and for a certificate that is not trusted."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(f"{url!r}: a kernel is reached by http://, https:// or a Unix socket")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    stream = socket.create_connection((parts.hostname, port), timeout=CONNECT_S)
    return stream if parts.scheme == "http" else _encrypted(stream, parts.hostname)


def _encrypted(stream: socket.socket, name: str) -> socket.socket:
    import ssl  # Takes 10 ms to load, and hardly any program of this client needs it.

    try:
        return ssl.create_default_context().wrap_socket(stream, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"the certificate of {name} is not trusted ({error.verify_message}); SSL_CERT_FILE "
            "names those that are"
        ) from error
