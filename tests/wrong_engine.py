"""A server on a real socket that answers what a test scripted, byte by byte, however wrong."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from patience import until

Answer = Callable[["Asked"], Awaitable[None]]


class Asked:
    """One HTTP request as it came, and the connection to misuse."""

    def __init__(
        self, head: str, body: bytes, writer: asyncio.StreamWriter, gone: asyncio.Event
    ) -> None:
        self.head = head
        self.body = body
        self.writer = writer
        self.gone = gone

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


def respond(status: int, body: bytes, *headers: str, kind: str = "application/json") -> Answer:
    """A whole response."""

    async def answer(asked: Asked) -> None:
        lines = (
            f"HTTP/1.1 {status} Whatever",
            f"content-type: {kind}",
            f"content-length: {len(body)}",
            *headers,
        )
        await asked.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


def pour(*pieces: bytes, ends: bool = True, resets: bool = False, closes: bool = True) -> Answer:
    """A chunked stream; without its end the connection is cut, or reset."""

    async def answer(asked: Asked) -> None:
        await asked.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for piece in pieces:
            await asked.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if ends:
            await asked.send(b"0\r\n\r\n")
        elif resets:
            asked.writer.transport.abort()
        elif closes:
            asked.writer.close()

    return answer


async def hang(asked: Asked) -> None:
    """Say nothing until the client has gone."""
    await asked.gone.wait()


async def slam(asked: Asked) -> None:
    """Close without a word."""
    asked.writer.transport.abort()


class WrongEngine:
    """Answers one call after another from `script`; the last answer is repeated."""

    def __init__(self, script: Sequence[Answer]) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.url = ""
        self._script = script

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (asked := await self._read(reader, writer)) is not None:
                self.asked.append(asked)
                at = min(len(self.asked), len(self._script)) - 1
                watch = asyncio.ensure_future(self._watch(reader, asked.gone))
                await self._script[at](asked)
                watch.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client left: what a test looks at is recorded already.
        finally:
            writer.close()

    async def _watch(self, reader: asyncio.StreamReader, gone: asyncio.Event) -> None:
        """Notices that the client has closed, without taking bytes of a next call."""
        await until(reader.at_eof)
        gone.set()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Asked | None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.decode().lower().splitlines():
            if line.startswith("content-length:"):
                length = int(line.partition(":")[2])
        body = await reader.readexactly(length)
        return Asked(head.decode(), body, writer, asyncio.Event())


@asynccontextmanager
async def wrong_engine(*script: Answer) -> AsyncGenerator[WrongEngine]:
    engine = WrongEngine(script)
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    engine.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield engine
    finally:
        server.close()
        for asked in engine.asked:
            asked.writer.transport.abort()
