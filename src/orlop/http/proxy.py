"""The way out of sandboxes: an HTTP proxy on a Unix socket that only they see.

Who is asking is told by the password of its proxy variables: a process's own token, or a pass that
the kernel gave to a tool or a server of tools.  What a process sends is read (`http.proxy_talk`)
and becomes its calls; what a rule calls a tunnel, and what tools send, is passed on and counted.
"""

import asyncio
import base64
import binascii
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orlop.abi.egress import EgressClosed, NetRule, split_host
from orlop.abi.errors import BadCall, Denied, Exhausted, KernelError, Unauthenticated
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS
from orlop.abi.limits import EGRESS_CONNECTIONS_MAX, EGRESS_IDLE_S, HEADERS_BYTES_MAX
from orlop.access.rights import Narrowing
from orlop.effects.outside import Outside
from orlop.http.auth import Caller, Doorman
from orlop.http.authority import Authority
from orlop.http.proxy_talk import Counted, Talk, Way, answer_error, read_head
from orlop.state import web
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import egress, tunnels
from orlop.wire import http_head
from orlop.wire.http_head import Head

log = logging.getLogger(__name__)

CHUNK: Final = 65_536
ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
PORT_WITHOUT_TLS: Final = 80


@dataclass(frozen=True, slots=True)
class Pass:
    """Of a tool or a server of tools: where it may go.  Its connections are not looked into."""

    who: str
    rules: Sequence[NetRule]


@dataclass(frozen=True, slots=True)
class Told:
    """Headers, as the doorman reads them."""

    authorization: str

    def header(self, name: str) -> str:
        return self.authorization if name == "authorization" else ""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is asking: a process, or who holds a pass."""

    process: Process | None = None
    caller: Caller | None = None
    held: Pass | None = None

    @property
    def narrowing(self) -> Narrowing | None:
        return self.caller.narrowing if self.caller is not None else None


class Proxy:
    def __init__(
        self,
        kernel: Kernel,
        doorman: Doorman,
        authority: Authority,
        web: Outside,
        passes: Mapping[str, Pass],
    ) -> None:
        self._kernel = kernel
        self._doorman = doorman
        self._authority = authority
        self._web = web
        self._passes = passes
        self._open: Counter[str] = Counter()

    async def run(self, path: Path) -> None:
        """Listen until cancelled."""
        path.unlink(missing_ok=True)  # noqa: ASYNC240 (a socket of ours)
        server = await asyncio.start_unix_server(
            self._met, path, limit=2 * HEADERS_BYTES_MAX, backlog=256
        )
        path.chmod(0o600)  # noqa: ASYNC240
        try:
            async with server:
                await server.serve_forever()
        finally:
            path.unlink(missing_ok=True)  # noqa: ASYNC240

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; whatever goes wrong ends it alone."""
        try:
            head = await read_head(reader)
            if head is not None:
                await self._serve(head, reader, writer)
        except KernelError as error:
            await answer_error(writer, error)
        except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError) as gone:
            log.debug("a connection to the proxy ended: %s", gone)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await writer.wait_closed()

    async def _serve(
        self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        guest = await self._guest(head)
        name = guest.process.id if guest.process is not None else f"pass {guest.held}"
        if self._open[name] >= EGRESS_CONNECTIONS_MAX:
            raise Exhausted(
                f"{EGRESS_CONNECTIONS_MAX} connections of one program at once "
                "(EGRESS_CONNECTIONS_MAX)",
                retry_after_s=1.0,
            )
        self._open[name] += 1
        try:
            await self._let_out(guest, head, reader, writer)
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    async def _guest(self, head: Head) -> Guest:
        """Raises `Unauthenticated`."""
        token = password(head.first("proxy-authorization"))
        if (held := self._passes.get(token)) is not None:
            return Guest(held=held)
        told = Told(f"Bearer {token}")
        caller = self._doorman.caller(told)
        return Guest(process=await self._doorman.process(caller, told), caller=caller)

    async def _let_out(
        self,
        guest: Guest,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if head.method == "CONNECT":
            host, port = split_host(head.target)
            if port is None:
                raise BadCall("CONNECT host:port")
            scheme = "http" if port == PORT_WITHOUT_TLS else "https"
        else:
            scheme, host, port = web.place(head.target)
        rule = self._rule(guest, host, port)
        counted = Counted(self._kernel.clock.now_s())
        is_tunnel = guest.process is None or rule.mode == "tunnel"
        try:
            if is_tunnel and guest.process is not None:
                tunnels.require(self._kernel, guest.process, host, port, guest.narrowing)
            if is_tunnel:
                await self._tunnel(head, host, port, reader, writer, counted)
                return
            assert guest.process is not None
            talk = Talk(self._kernel, guest.process, guest.narrowing, counted)
            if head.method != "CONNECT":
                await talk.whole(head, reader, writer)
                return
            writer.write(ESTABLISHED)
            await writer.drain()
            if scheme == "https":
                await writer.start_tls(self._authority.context(host))
            await talk.through(f"{scheme}://{head.target}", reader, writer)
        finally:
            self._tell(guest, host, port, counted, is_tunnel=is_tunnel)

    def _rule(self, guest: Guest, host: str, port: int) -> NetRule:
        """Raises `Denied`."""
        kernel = self._kernel
        if guest.process is not None:
            return egress.require(kernel, guest.process, host, port, guest.narrowing)
        assert guest.held is not None
        for rule in guest.held.rules:
            if rule.fits(host, port):
                return rule
        error = Denied(f"{host}:{port} is no host that {guest.held.who} may reach")
        egress.refuse(kernel, KERNEL_PROCESS, host, port, error, guest.held.who)
        raise error

    async def _tunnel(
        self,
        head: Head,
        host: str,
        port: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        counted: Counted,
    ) -> None:
        far_reader, far_writer = await self._web.tunnel(host, port)
        try:
            if head.method == "CONNECT":
                writer.write(ESTABLISHED)
                await writer.drain()
            else:
                far_writer.write(http_head.direct(head))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pass_on(reader, far_writer, counted, "sent"))
                tasks.create_task(pass_on(far_reader, writer, counted, "received"))
        except* (OSError, TimeoutError) as gone:
            log.debug("a tunnel to %s:%d ended: %s", host, port, gone.exceptions[0])
        finally:
            far_writer.close()

    def _tell(
        self, guest: Guest, host: str, port: int, counted: Counted, *, is_tunnel: bool
    ) -> None:
        """The journal."""
        kernel = self._kernel
        if kernel.journal.stopped is not None:
            return
        process = guest.process
        event = EgressClosed(
            host=host,
            port=port,
            how="tunnel" if is_tunnel else "exchanges",
            sent=counted.bytes["sent"],
            received=counted.bytes["received"],
            exchanges=counted.exchanges,
            seconds=round(kernel.clock.now_s() - counted.began_s, 3),
            who=guest.held.who if guest.held is not None else "",
        )
        id = process.id if process is not None else KERNEL_PROCESS
        kernel.emit(id, process.row.tenant if process is not None else DEFAULT_TENANT, event)


async def pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Counted, way: Way
) -> None:
    """Bytes as they are, until the end, or until nothing has come for long."""
    while True:
        async with asyncio.timeout(EGRESS_IDLE_S):
            piece = await reader.read(CHUNK)
        if not piece:
            break
        counted.bytes[way] += len(piece)
        writer.write(piece)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def password(header: str) -> str:
    """Of `Proxy-Authorization: Basic …`.  Raises `Unauthenticated`."""
    kind, _, told = header.partition(" ")
    try:
        if kind.lower() == "basic":
            return base64.b64decode(told, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise Unauthenticated("this proxy asks who you are: use the proxy variables as they were set")
