"""Connections that nobody can hold for nothing: uvicorn's, with an end to every wait.

Uvicorn itself waits for ever for a client that does not finish its call, and for one that does not
read its answer.  Invariants: 1. while the client's bytes are awaited, `_late` runs; 2. while it has
to read before we can write, `_stalled` runs; 3. there are never more than `connections_max`;
4. what comes and is no body is at most `HEADERS_BYTES_MAX` long: bodies are bounded where they are
read, and everything else is kept by the parser, before anybody has looked at a key.
"""

import asyncio
import contextlib
import logging
import resource
from typing import Final

from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from orlop.abi.limits import CONNECTIONS_MAX, FILES_KEPT, HEADERS_BYTES_MAX
from orlop.http.exchange import LINE, Line
from orlop.http.place import HttpConfig
from orlop.machine.latch import Latch

log = logging.getLogger(__name__)

LATE: Final = b"408 Request Timeout", b"the call did not arrive in time (http.receive_s)\n"
LARGE: Final = (
    b"431 Request Header Fields Too Large",
    b"too much before the body, or between its pieces (HEADERS_BYTES_MAX)\n",
)
FULL: Final = b"503 Service Unavailable", b"too many connections (CONNECTIONS_MAX)\n"


def connections_max() -> int:
    """What the system allows, leaving some files to the journal; the limit is raised if it can be.

    Without a bound of our own, connections that do nothing would keep the journal from its files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_KEPT
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return max(1, min(CONNECTIONS_MAX, soft - FILES_KEPT))


class Pipeline(list[object]):
    """Calls that came before an earlier one of the same connection was answered."""

    def appendleft(self, call: object) -> None:
        self.insert(0, call)


class Flow(FlowControl):
    """Uvicorn's, with a latch in the place of its event."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._is_writable_event = Latch(is_set=True)  # type: ignore[assignment]


class ServerConfig(Config):
    """Uvicorn's, which hands it to each connection; `limits` are ours."""

    limits: HttpConfig
    connections_max: int


class Connection(HttpToolsProtocol):
    """One client."""

    # In slots, since uvicorn's own attributes are nearly as many as a class's objects may have
    # before each one carries a table of their names: 1.2 kB for each that waits.
    __slots__ = (
        "_bodiless_bytes",
        "_connections_max",
        "_expecting",
        "_late",
        "_limits",
        "_line",
        "_stalled",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        if not isinstance(config, ServerConfig):
            raise TypeError("a Connection needs a ServerConfig")
        self._limits = config.limits
        self._connections_max = config.connections_max
        # Uvicorn's deque weighs 700 bytes, and hardly anybody pipelines.
        self.pipeline = Pipeline()  # type: ignore[assignment]
        self._line = Line()
        self._expecting = True
        """A call has begun to arrive, or the first one is awaited."""
        self._bodiless_bytes = 0
        """That have come since a call began, or since the last piece of its body."""
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        if len(self.connections) > self._connections_max:
            self._refuse(*FULL)
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._late, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._line.lose()

    def data_received(self, data: bytes) -> None:
        self._bodiless_bytes += len(data)
        super().data_received(data)
        if self._bodiless_bytes > HEADERS_BYTES_MAX and not self.transport.is_closing():
            self._refuse(*LARGE)
        # Nearly all calls arrive in one piece: those cost no timer.
        if self._expecting and self._late is None and not self.transport.is_closing():
            self._expect()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][LINE] = self._line
        self._expecting = True

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # The exchange's task has been made, and has not begun.
        if not self.cycle.message_event.is_set():
            self.cycle.message_event = Latch()  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._bodiless_bytes = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._expecting = False
        self._bodiless_bytes = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.stall_s, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expect(self) -> None:
        self._late = self.loop.call_later(self._limits.receive_s, self._give_up)

    def _give_up(self) -> None:
        if self.flow.read_paused:  # It is we who do not read: an earlier call is being answered.
            self._expect()
        elif not self.transport.is_closing():
            log.info("a call did not arrive within %g s", self._limits.receive_s)
            self._refuse(*LATE)

    def _refuse(self, status: bytes, why: bytes) -> None:
        """Say why, unless an answer has begun, and close."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            length = str(len(why)).encode()
            self.transport.write(
                b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\ncontent-length: %b\r\n"
                b"retry-after: 1\r\nconnection: close\r\n\r\n%b" % (status, length, why)
            )
        self.transport.close()

    def _abort(self) -> None:
        log.info("a client read nothing of its answer for %g s", self._limits.stall_s)
        self.transport.abort()
