"""Uvicorn on sockets that the supervisor holds."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

import uvicorn

from orlop.http import tls
from orlop.http.connection import Connection, ServerConfig, connections_max
from orlop.http.exchange import Event, Receive, Send
from orlop.http.place import HttpConfig
from orlop.machine.tasks import TaskOwner

GRACEFUL_S = 3
"""For answers that are being written when the system stops."""


class Server(uvicorn.Server):
    """Signals are the boot's business, not the server's."""

    def __init__(self, config: ServerConfig, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls
        self._handshake_s = config.limits.receive_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's, but that the Unix socket is never encrypted."""
        config, loop = self.config, asyncio.get_running_loop()
        self.servers = []

        def connection() -> asyncio.Protocol:
            return Connection(config, self.server_state, self.lifespan.state)

        for listener in sockets or ():
            context = None if listener.family is socket.AF_UNIX else self._tls
            handshake_s = None if context is None else self._handshake_s
            self.servers.append(
                await loop.create_server(
                    connection,
                    sock=listener,
                    ssl=context,
                    ssl_handshake_timeout=handshake_s,
                    backlog=config.backlog,
                )
            )
        self.started = True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(
    app: Callable[[Event, Receive, Send], Awaitable[None]],
    listeners: Sequence[socket.socket],
    stop: asyncio.Event,
    limits: HttpConfig,
) -> None:
    """Answer until `stop` is set.  The listening sockets stay open: whoever calls while the next
    kernel boots waits for it instead of being refused."""
    config = ServerConfig(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_S,
        timeout_keep_alive=75,
    )
    config.limits, config.connections_max = limits, connections_max()
    server = Server(config, tls.context(limits))
    tasks = TaskOwner("http")

    async def stopped() -> None:
        await stop.wait()
        server.should_exit = True

    tasks.start(stopped())
    await server.serve(sockets=list(listeners))
    await tasks.close()
