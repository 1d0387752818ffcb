"""Uvicorn on sockets that the supervisor holds."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

import uvicorn

from orlop.http.connection import Connection, ServerConfig, connections_max
from orlop.http.exchange import Event, Receive, Send
from orlop.http.place import HttpConfig
from orlop.machine.tasks import TaskOwner

GRACEFUL_S = 3
"""For answers that are being written when the system stops."""


class Server(uvicorn.Server):
    """Signals are the boot's business, not the server's."""

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
    server = Server(config)
    tasks = TaskOwner("http")

    async def stopped() -> None:
        await stop.wait()
        server.should_exit = True

    tasks.start(stopped())
    await server.serve(sockets=list(listeners))
    await tasks.close()
