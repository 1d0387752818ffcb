"""Files over plain HTTP: whole ones as their bytes, whatever their size, and mounts for operators.

All the rest is system calls (`POST /orlop/v1/calls`), which these routes make too.
"""

from collections.abc import AsyncIterator

import msgspec

from orlop.abi.calls import Call
from orlop.abi.errors import BadCall, TooLarge
from orlop.abi.files import (
    ChangeFiles,
    Contents,
    FileRead,
    FileView,
    FileWrite,
    MountOrder,
    Piece,
    PieceStored,
    ReadFiles,
    WriteFiles,
)
from orlop.abi.limits import FILE_PIECE_BYTES
from orlop.abi.replies import Done
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.http.native import last
from orlop.kernel import file_mounts, syscall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import file_content, files

BYTES = "application/octet-stream"


async def ask(kernel: Kernel, process: Process, exchange: Exchange, call: Call) -> Done:
    running = syscall.enter(
        kernel,
        process,
        call,
        retry=exchange.is_retry,
        nonce=exchange.header("orlop-key")[:64],
        incarnation=process.row.incarnation,
        narrowing=exchange.narrowing,
    )
    with exchange.watched(running):
        return await last(running)


async def store_pieces(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`POST /orlop/v1/pieces`: content that a later `write` names."""
    data = await exchange.body()
    if not 1 <= len(data) <= FILE_PIECE_BYTES:
        raise TooLarge(f"a piece has 1 to {FILE_PIECE_BYTES} bytes (FILE_PIECE_BYTES)")
    pieces = await file_content.store(kernel, process, data)
    await exchange.send_json(200, msgspec.json.encode(PieceStored(pieces=pieces)))


async def download(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`GET /orlop/v1/files?path=…`: a file's bytes, read as they are sent."""
    version = exchange.query("version")
    wanted = FileRead(
        path=_path(exchange), version=int(exchange.number("version", 0)) if version else None
    )
    at, sent, first = exchange.query("at"), 0, True
    while True:
        call = ReadFiles(files=(wanted,), at=at)
        done = await ask(kernel, process, exchange, call)
        assert isinstance(done, Contents)
        content = done.files[0]
        if first:
            head = [("content-type", BYTES), ("content-length", str(content.size))]
            head.append(("orlop-version", str(content.version)))
            await exchange.start_stream(head)
            first = False
        sent += content.length
        if sent >= content.size or not content.length:
            await exchange.end(content.data)
            return
        await exchange.send_chunk(content.data)
        # The same version to the end, whatever is written meanwhile.
        is_kept = kernel.tables.files.mount(process.row.tenant, content.path) is None
        wanted = FileRead(
            path=content.path, version=content.version if is_kept else None, offset=sent
        )


async def upload(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`POST /orlop/v1/files?path=…`: the body becomes the file, stored as it comes."""
    path = _path(exchange)
    expected = exchange.query("if_version")
    if_version = int(exchange.number("if_version", 0)) if expected else None
    most = files.store(kernel).config.bytes_max
    declared = exchange.header("content-length")
    if declared.isdecimal() and int(declared) > most:
        raise TooLarge(f"{path} would have {declared} bytes; at most {most} (files.bytes_max)")
    pieces: list[Piece] = []
    size = 0
    async for data in cut(exchange.stretches()):
        size += len(data)
        if size > most:
            raise TooLarge(f"{path} has more than {most} bytes (files.bytes_max)")
        pieces += await file_content.store(kernel, process, data)
    file = FileWrite(
        path=path,
        pieces=tuple(pieces),
        append=exchange.query("append", "0") != "0",
        if_version=if_version,
    )
    done = await ask(kernel, process, exchange, WriteFiles(files=(file,)))
    await exchange.send_json(200, msgspec.json.encode(done))


async def cut(stretches: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Of whatever lengths, as pieces that are stored."""
    rest = bytearray()
    async for stretch in stretches:
        rest += stretch
        while len(rest) >= FILE_PIECE_BYTES:
            yield bytes(rest[:FILE_PIECE_BYTES])
            del rest[:FILE_PIECE_BYTES]
    if rest:
        yield bytes(rest)


async def delete(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`DELETE /orlop/v1/files?path=…`"""
    call = ChangeFiles(action="delete", path=_path(exchange))
    done = await ask(kernel, process, exchange, call)
    await exchange.send_json(200, msgspec.json.encode(done))


def _path(exchange: Exchange) -> str:
    if not (path := exchange.query("path")):
        raise BadCall("path: which file? (`?path=/notes.txt`)")
    return path


class Mounts:
    """The operators' routes for folders of the host, and for what the journal names."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def mount(self, exchange: Exchange) -> None:
        order = await read(exchange, MountOrder)
        await send(exchange, await file_mounts.mount(self._kernel, order, exchange.tenant))

    async def unmount(self, exchange: Exchange) -> None:
        await file_mounts.unmount(self._kernel, _path(exchange), exchange.tenant)
        await exchange.send_json(200, b"{}")

    async def mounts(self, exchange: Exchange) -> None:
        rows: list[FileView] = file_mounts.mounts(self._kernel, exchange.tenant)
        await send(exchange, rows)

    async def part(self, exchange: Exchange) -> None:
        """Something that events name: a message, or a piece of content."""
        try:
            name = bytes.fromhex(exchange.params["ref"])
        except ValueError as error:
            raise BadCall("a name of 32 hexadecimal letters, as events have it") from error
        data = await self._kernel.journal.part(exchange.tenant, name)
        await exchange.send(200, data, BYTES)

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "mounts"): self.mounts,
            ("POST", "mounts"): self.mount,
            ("DELETE", "mounts"): self.unmount,
            ("GET", "parts", "{ref}"): self.part,
        }
