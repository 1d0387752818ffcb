"""What a program in a sandbox says to a server outside, read exchange by exchange: each is a call.

So a resume answers it from the record, a replay asks nobody, and nothing is sent twice that must
not be.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from orlop.abi.egress import Fetch, Fetched
from orlop.abi.errors import BadCall, KernelError, TooLarge, Unauthenticated
from orlop.abi.limits import EGRESS_IDLE_S, FETCH_BODY_BYTES_MAX, HEADERS_BYTES_MAX
from orlop.access.rights import Narrowing
from orlop.http.native import last
from orlop.kernel import syscall
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
        try:
            said = await self._call(url, head, body)
        except KernelError as error:
            await answer_error(writer, error, keep=head.keeps_open)
            return head.keeps_open
        bare = said.status in NO_BODY or head.method == "HEAD"
        length = -1 if bare else len(said.body)
        writer.write(http_head.written(said.status, said.headers, length, head.keeps_open))
        if not bare:
            writer.write(said.body)
        await writer.drain()
        self._counted.bytes["received"] += len(said.body)
        return head.keeps_open

    async def _call(self, url: str, head: Head, body: bytes) -> Fetched:
        meant, carried = http_head.divided(head.headers)
        fetch = Fetch(method=head.method, url=url, headers=meant, body=body, carried=carried)
        running = syscall.enter(
            self._kernel,
            self._process,
            fetch,
            incarnation=self._incarnation,
            narrowing=self._narrowing,
        )
        self._counted.exchanges += 1
        done = await last(running)
        assert isinstance(done, Fetched)
        return done


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
