"""Content on its way through the door: data goes in as pieces, and comes out of them.

No content is in the journal twice: calls and outcomes name pieces, and whoever reads an outcome
again (a replay) is given the data anew.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from orlop.abi.calls import Call
from orlop.abi.contexts import CompactContext, Context, OpenContext, SaveContext
from orlop.abi.errors import BadCall, NotFound, TooLarge
from orlop.abi.files import (
    ChangeFiles,
    Contents,
    FileContent,
    FileWrite,
    ListFiles,
    Piece,
    PiecesStored,
    Put,
    ReadFiles,
    SearchFiles,
    Take,
    WatchFiles,
    WriteFiles,
)
from orlop.abi.ids import TenantId
from orlop.abi.labels import checked
from orlop.abi.limits import (
    BLOB_BYTES_MIN,
    FILE_INLINE_BYTES_MAX,
    FILE_PIECE_BYTES,
    FILES_LISTED_MAX,
    FILES_PER_CALL_MAX,
    NAME_CHARS_MAX,
)
from orlop.context import snapshot
from orlop.files import paths
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import Row
from orlop.store.journal import Part
from orlop.store.pack import pack
from orlop.subsystems import files

Parts = tuple[Part, ...]
APART = b"\0file "


def prepared(  # noqa: C901 (one row a call)
    kernel: Kernel, process: Process, call: Call
) -> tuple[Call, Parts]:
    """A call of files in its one form, with whole paths, and the pieces that its data is.

    Any other call as it is.  Raises `BadCall` or `TooLarge` naming the field.
    """
    home = paths.home_of(process.row.name)
    match call:
        case WriteFiles():
            return _write(kernel, process.row, call, home)
        case ReadFiles():
            _count(len(call.files))
            wanted = [replace(one, path=paths.file(one.path, home)) for one in call.files]
            if any(one.offset < 0 or (one.length or 0) < 0 for one in wanted):
                raise BadCall("files: offset and length are 0 or more")
            return replace(call, files=tuple(wanted)), ()
        case ListFiles():
            if not 1 <= call.limit <= FILES_LISTED_MAX:
                raise BadCall(f"limit: from 1 to {FILES_LISTED_MAX} (FILES_LISTED_MAX)")
            return replace(call, path=paths.absolute(call.path, home)), ()
        case ChangeFiles():
            return _change(call, home), ()
        case SearchFiles() | WatchFiles():
            return replace(call, path=paths.absolute(call.path, home)), ()
        case Put():
            pieces, parts = cut(kernel, process.row.tenant, call.data)
            pipe = paths.file(call.pipe, home)
            return replace(call, pipe=pipe, data=b"", pieces=pieces or call.pieces), parts
        case Take():
            return replace(call, pipe=paths.file(call.pipe, home)), ()
        case SaveContext() | OpenContext() | CompactContext():
            return replace(call, path=paths.file(call.path, home)), ()
        case _:
            return call, ()


def _write(kernel: Kernel, row: Row, call: WriteFiles, home: str) -> tuple[Call, Parts]:
    _count(len(call.files))
    if sum(len(one.data) for one in call.files) > FILE_INLINE_BYTES_MAX:
        raise TooLarge(
            f"files: at most {FILE_INLINE_BYTES_MAX} bytes in one call (FILE_INLINE_BYTES_MAX); "
            "store larger ones in pieces first"
        )
    written: list[FileWrite] = []
    parts: list[Part] = []
    for one in call.files:
        if one.data and one.pieces:
            raise BadCall(f"files: {one.path[:100]} has both data and pieces")
        pieces, new = cut(kernel, row.tenant, one.data)
        parts += new
        checked(one.labels)
        path = paths.file(one.path, home)
        onto = paths.file(one.onto, home) if one.onto else ""
        if onto and one.append:
            raise BadCall(f"files: {path[:100]} either grows, or begins with another file")
        written.append(replace(one, path=path, onto=onto, data=b"", pieces=pieces or one.pieces))
    if len({one.path for one in written}) < len(written):
        raise BadCall("files: a path is named twice")
    return replace(call, files=tuple(written)), tuple(parts)


def _change(call: ChangeFiles, home: str) -> ChangeFiles:
    path = paths.absolute(call.path, home)
    if path == paths.ROOT and call.action in ("delete", "move", "copy"):
        raise BadCall(f"path: / can't be the object of {call.action}")
    if call.action in ("move", "copy"):
        to = paths.file(call.to, home)
        if paths.is_below(to, path):
            raise BadCall(f"to: {to} lies in {path} itself")
        return replace(call, path=path, to=to)
    if call.action in ("snapshot", "restore"):
        named = call.to.isprintable() and not call.to.isdecimal()
        if not call.to or not named or len(call.to) > NAME_CHARS_MAX:
            raise BadCall("to: a name for the snapshot, printable, and not a number")
    if call.action == "share":
        kind, _, name = call.who.partition(":")
        if call.who != "organisation" and not (kind in ("agent", "team", "task") and name):
            raise BadCall("who: agent:NAME, team:NAME, task:NAME or organisation")
        if len(call.who) > 2 * NAME_CHARS_MAX or not call.who.isprintable():
            raise BadCall("who: a printable name")
    return replace(call, path=path)


def _count(files: int) -> None:
    if not 1 <= files <= FILES_PER_CALL_MAX:
        raise BadCall(f"files: from 1 to {FILES_PER_CALL_MAX} (FILES_PER_CALL_MAX), not {files}")


def cut(kernel: Kernel, tenant: TenantId, data: bytes) -> tuple[tuple[Piece, ...], Parts]:
    """Data as named pieces.  Raises `TooLarge`."""
    if len(data) > FILE_INLINE_BYTES_MAX:
        raise TooLarge(f"data: at most {FILE_INLINE_BYTES_MAX} bytes (FILE_INLINE_BYTES_MAX)")
    parts: list[Part] = []
    for start in range(0, len(data), FILE_PIECE_BYTES):
        stretch = data[start : start + FILE_PIECE_BYTES]
        # Apart from messages, which are forgotten when their calls are.
        parts.append(Part(kernel.journal.name_of(tenant, APART + stretch), stretch))
    return tuple(Piece(part.name.hex(), len(part.data)) for part in parts), tuple(parts)


async def packed(kernel: Kernel, parts: Parts) -> Parts:
    """The large ones made small beside the event loop, which would stand still for it."""
    if all(len(part.data) <= BLOB_BYTES_MIN for part in parts):
        return parts
    return await files.store(kernel).disk(_packed, parts)


def _packed(parts: Parts) -> Parts:
    return tuple(replace(part, packed=pack(part.data)) for part in parts)


async def joined(
    kernel: Kernel, tenant: TenantId, pieces: Sequence[Piece], skip: int, length: int
) -> bytes:
    """The stretch that begins `skip` bytes into the pieces."""
    found = bytearray()
    for piece in pieces:
        try:
            found += await kernel.part(tenant, bytes.fromhex(piece.name))
        except NotFound as error:
            raise NotFound(f"a piece of this file was pruned or forgotten: {piece.name}") from error
    return bytes(found[skip : skip + length])


def bare(contents: Contents | Context) -> Contents | Context:
    """As the journal keeps it."""
    if isinstance(contents, Context):
        return replace(contents, messages=(), tools=())
    return replace(contents, files=tuple(replace(one, data=b"") for one in contents.files))


async def filled(
    kernel: Kernel, tenant: TenantId, contents: Contents | Context
) -> Contents | Context:
    """As its caller was given it."""
    if isinstance(contents, Context):
        size = sum(piece.size for piece in contents.pieces)
        data = await joined(kernel, tenant, contents.pieces, 0, size)
        _, shown, _ = snapshot.opened(data)
        return replace(contents, messages=shown.messages, tools=shown.tools)
    files: list[FileContent] = []
    for one in contents.files:
        data = await joined(kernel, tenant, one.pieces, one.skip, one.length)
        files.append(replace(one, data=data))
    return replace(contents, files=tuple(files))


async def store(kernel: Kernel, process: Process, data: bytes) -> tuple[Piece, ...]:
    """Keep content that a later write names; durable on return.

    Raises what refuses a call too: a process that is over, a full disk, a stopped journal.
    """
    if (reason := kernel.admitting() or kernel.short()) is not None:
        raise reason
    pieces, parts = cut(kernel, process.row.tenant, data)
    parts = await packed(kernel, parts)
    await files.store(kernel).alone()
    header = kernel.emit(process.id, process.row.tenant, PiecesStored(pieces=pieces), parts=parts)
    await kernel.journal.durable(header.seq)
    return pieces
