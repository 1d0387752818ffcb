"""What a program in a sandbox says to a server outside, read exchange by exchange: each is a call.

So a resume answers it from the record, a replay asks nobody, and nothing is sent twice that must
not be.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from orlop.abi.egress import Begun, Fetch, Fetched, Headers, Onward
from orlop.abi.errors import BadCall, KernelError, TooLarge, Unauthenticated
from orlop.abi.limits import EGRESS_IDLE_S, FETCH_BODY_BYTES_MAX, HEADERS_BYTES_MAX
from orlop.access.rights import Narrowing
from orlop.http.native import last
from orlop.kernel import syscall
from orlop.machine.channel import Channel
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.wire import http_head, problem
from orlop.wire.http_head import HEAD_END, Head

Way = Literal["sent", "received"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_BODY: Final = (204, 304)


@dataclass(slots=True)
class Counted:
    """What went through one connection."""

    began_s: float
    bytes: Counter[Way] = field(default_factory=Counter)
    exchanges: int = 0


class Talk:
    """One connection of a process, looked into."""

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        narrowing: Narrowing | None,
        counted: Counted,
    ) -> None:
        self._kernel = kernel
        self._process = process
        self._incarnation = process.row.incarnation
        self._narrowing = narrowing
        self._counted = counted

    async def through(
        self, base: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Inside a CONNECT: exchanges with `base`, one after another."""
        while (head := await read_head(reader)) is not None:
            if not head.target.startswith("/"):
                raise BadCall("inside a connection, paths begin with a `/`")
            if not await self._exchange(base + head.target, head, reader, writer):
                break

    async def whole(
        self, head: Head | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Exchanges that name their server each."""
        while head is not None and await self._exchange(head.target, head, reader, writer):
            head = await read_head(reader)

    async def _exchange(
        self, url: str, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One call; whether the connection goes on."""
        if head.first("upgrade"):
            raise BadCall(f"{url[:200]}: no upgrades here; `--net HOST=tunnel` lets them through")
        if head.first("expect").lower() == "100-continue":
            writer.write(CONTINUE)
        body = await read_body(head, reader)
        self._counted.bytes["sent"] += len(body)
        passing = Passing(head, writer)
        try:
            said = await self._call(url, head, body, passing)
        except KernelError as error:
            if passing.has_begun:  # What came so far is no whole answer: it must not look like one.
                return False
            await answer_error(writer, error, keep=head.keeps_open)
            return head.keeps_open
        self._counted.bytes["received"] += len(said.body)
        await passing.finish(said)
        return head.keeps_open

    async def _call(self, url: str, head: Head, body: bytes, passing: "Passing") -> Fetched:
        """The call's end; what streams has been passed on by then.  Whoever has gone meanwhile
        leaves the call, as with any other."""
        meant, carried = http_head.divided(head.headers)
        fetch = Fetch(method=head.method, url=url, headers=meant, body=body, carried=carried)
        running = syscall.enter(
            self._kernel,
            self._process,
            fetch,
            incarnation=self._incarnation,
            narrowing=self._narrowing,
        )
        running.onward = None if head.is_old else passing.pieces.put_nowait
        self._counted.exchanges += 1
        onward = asyncio.ensure_future(passing.run())
        ended = asyncio.ensure_future(last(running))
        try:
            await asyncio.wait((onward, ended), return_when=asyncio.FIRST_COMPLETED)
            if onward.done():  # Only a client that has gone ends it before the call.
                await onward
            done = await ended
            passing.pieces.close()
            await onward
        except BaseException:
            running.leave()
            raise
        finally:
            passing.pieces.close()
            for task in (onward, ended):
                task.cancel()
            await asyncio.gather(onward, ended, return_exceptions=True)
        assert isinstance(done, Fetched)
        return done


class Passing:
    """An answer on its way to its client, in pieces where it streams."""

    def __init__(self, head: Head, writer: asyncio.StreamWriter) -> None:
        self.pieces: Channel[Onward] = Channel(FETCH_BODY_BYTES_MAX + 1)
        self.has_begun = False
        self._head = head
        self._writer = writer

    async def run(self) -> None:
        """Until nothing more comes.  Raises `OSError` where the client has gone."""
        async for piece in self.pieces:
            if isinstance(piece, Begun):
                self._begin(piece.status, piece.headers)
            else:
                self._writer.write(http_head.chunk(piece))
            await self._writer.drain()

    def _begin(self, status: int, headers: Headers) -> None:
        self.has_begun = True
        told = (*headers, *http_head.CHUNKED)
        self._writer.write(http_head.written(status, told, -1, self._head.keeps_open))

    async def finish(self, said: Fetched) -> None:
        """The end, which waits for the record; or, of what did not stream, all of it."""
        bare = said.status in NO_BODY or self._head.method == "HEAD"
        if self.has_begun:
            self._writer.write(http_head.CHUNKS_END)
        elif said.chunks and not bare and not self._head.is_old:
            self._begin(said.status, said.headers)
            at = 0
            for length in said.chunks:  # As it came, from the record.
                self._writer.write(http_head.chunk(said.body[at : at + length]))
                at += length
            self._writer.write(http_head.CHUNKS_END)
        else:
            length = -1 if bare else len(said.body)
            keep = self._head.keeps_open
            self._writer.write(http_head.written(said.status, said.headers, length, keep))
            self._writer.write(b"" if bare else said.body)
        await self._writer.drain()


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None: no further exchange.  Raises `BadCall`, `TooLarge`."""
    try:
        async with asyncio.timeout(EGRESS_IDLE_S):
            return http_head.read(await reader.readuntil(HEAD_END))
    except asyncio.IncompleteReadError as ended:
        if ended.partial:
            raise
        return None
    except asyncio.LimitOverrunError:
        raise TooLarge(f"more than {HEADERS_BYTES_MAX} bytes of headers") from None


async def read_body(head: Head, reader: asyncio.StreamReader) -> bytes:
    """Raises `BadCall`, `TooLarge`."""
    async with asyncio.timeout(EGRESS_IDLE_S):
        if not head.is_chunked:
            _require_small(head.length)
            return await reader.readexactly(head.length)
        body = bytearray()
        while size := http_head.chunk_size(await reader.readuntil(b"\r\n")):
            _require_small(len(body) + size)
            body += await reader.readexactly(size)
            if await reader.readexactly(2) != b"\r\n":
                raise BadCall("a chunk is longer than it says")
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass  # Trailers say nothing that was asked for.
        return bytes(body)


def _require_small(size: int) -> None:
    if size > FETCH_BODY_BYTES_MAX:
        raise TooLarge(
            f"a body of more than {FETCH_BODY_BYTES_MAX} bytes (FETCH_BODY_BYTES_MAX) is not "
            "recorded; `--net HOST=tunnel` lets it through"
        )


async def answer_error(
    writer: asyncio.StreamWriter, error: KernelError, *, keep: bool = False
) -> None:
    """In the words of HTTP, so that any client can show it."""
    said = problem.native(error)
    status, headers = said.status, tuple(said.headers)
    if isinstance(error, Unauthenticated):
        status, headers = 407, (*headers, ("proxy-authenticate", 'Basic realm="orlop"'))
    headers = (*headers, ("content-type", "application/json"))
    try:
        writer.write(http_head.written(status, headers, len(said.body), keep) + said.body)
        await writer.drain()
    except OSError:
        pass  # Nobody is there any more.
