"""One connection to a server, and what it answers: HTTP/1.1 as a client, one exchange at a time.

Invariants: 1. what was not heard to its end, or broke, is closed and never used again; 2. of an
answer that nobody reads, at most `UNREAD_BYTES_MAX` and one piece are held; 3. whoever waits for an
answer is told when the connection is lost.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final

import httptools

from orlop.abi.limits import HEADERS_BYTES_MAX

UNREAD_BYTES_MAX: Final = 256 * 1024
"""Of an answer; then the server has to wait."""


class Lost(OSError):
    """The connection ended before the answer did.

    unheard: it had served before, and nothing of this answer came: the server may have closed it
    before it saw what was asked.
    """

    def __init__(self, message: str, *, unheard: bool = False) -> None:
        super().__init__(message)
        self.unheard = unheard


class Answer:
    """What one exchange has brought so far.  Use it as a context: it must be read or closed."""

    __slots__ = (
        "_error",
        "_is_over",
        "_line",
        "_pieces",
        "_unread",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, line: "Line") -> None:
        self.status = 0
        """0 until the head is here."""
        self.headers: dict[str, str] = {}
        """By their names in lower case."""
        self._line: Line | None = line
        self._pieces: list[bytes] = []
        self._unread = 0
        self._is_over = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def coding(self) -> str:
        """How the body is packed; empty: as it is."""
        said = self.headers.get("content-encoding", "").strip().lower()
        return "" if said == "identity" else said

    async def begun(self) -> None:
        """The status and the headers are here.  Raises `OSError`."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def piece(self) -> bytes:
        """What has come since, as soon as there is any; empty at the end.  Raises `OSError`."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._is_over:
                return b""
            await self._wait()
        pieces, self._pieces = self._pieces, []
        self._unread = 0
        if self._line is not None:
            self._line.go_on()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self, limit: int) -> bytes:
        """All of it, or the first bytes: at least `limit`, where there are so many."""
        whole = await self.piece()
        if self._is_over and not self._pieces and self._error is None:
            return whole
        pieces, size = [whole], len(whole)
        while size < limit and (piece := await self.piece()):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Nobody wants the rest."""
        if self._line is not None:
            self._line.close()

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def began(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def brought(self, piece: bytes) -> bool:
        """False: that is more than enough for now."""
        self._pieces.append(piece)
        self._unread += len(piece)
        self._wake()
        return self._unread <= UNREAD_BYTES_MAX

    def ended(self, error: Exception | None = None) -> None:
        self._is_over, self._error, self._line = True, error, None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Line(asyncio.Protocol):
    """let_go: told when the line may be used again.  lost: told when it never may."""

    def __init__(self, let_go: Callable[["Line"], None], lost: Callable[["Line"], None]) -> None:
        self._let_go = let_go
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._has_served = False
        self._is_open_ended = False
        """The body ends where the connection does."""
        self._may_stay = False

    # What its owner does.

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, order: bytes) -> Answer:
        """Send a whole request."""
        answer = self._answer = Answer(self)
        self._headers, self._head_bytes, self._is_open_ended = {}, 0, False
        if self._transport is None or self._transport.is_closing():
            self._over(Lost("the connection is closed", unheard=True))
        else:
            self._transport.write(order)
        return answer

    def go_on(self) -> None:
        """There is room for more."""
        if self.is_open and self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    def close(self) -> None:
        """At once: what was not sent is not sent, and what comes is not heard."""
        self._over(Lost("the connection was closed"))
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by shape only.
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:  # Nobody has asked.
            self.close()
            return
        if not answer.status:
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._over(Lost(f"its answer is no HTTP: {error}"))
        else:
            if self._head_bytes > HEADERS_BYTES_MAX and not answer.status:
                self._over(Lost("its answer begins with more than HEADERS_BYTES_MAX of headers"))
        if self._answer is not None or self._transport is None:
            return
        # From here on this exchange is over.
        if self._may_stay and not self._transport.get_write_buffer_size():
            self._has_served = True
            self.go_on()
            self._let_go(self)
        else:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = self._parser = None
        if error is None and self._is_open_ended:
            self._over(None)
        else:
            said = "the server closed the connection" if error is None else str(error)
            self._over(Lost(said, unheard=self._has_served and not self._head_bytes))
        self._lost(self)

    # What the parser finds.

    def on_message_begin(self) -> None:
        self._may_stay = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, said = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = said if known is None else f"{known}, {said}"

    def on_headers_complete(self) -> None:
        if self._parser is None or self._answer is None:
            return
        status = self._parser.get_status_code()
        if status >= 200:
            framed = "content-length" in self._headers or "transfer-encoding" in self._headers
            self._is_open_ended = not framed
            self._answer.began(status, self._headers)
        self._headers = {}

    def on_body(self, body: bytes) -> None:
        if self._answer is not None and not self._answer.brought(body) and self._transport:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._answer is not None and self._answer.status and self._parser is not None:
            self._may_stay = self._parser.should_keep_alive()
            self._over(None)

    def _over(self, error: Lost | None) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.ended(error)
        if error is not None:
            self._may_stay = False
