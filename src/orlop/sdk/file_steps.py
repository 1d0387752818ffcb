"""What one does with files, step by step and without I/O: calls out, answers in.

Both faces of the SDK run these, so that each thing is said once.
"""

import difflib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Call
from orlop.abi.errors import Broken, NotFound
from orlop.abi.files import (
    Changed,
    ChangeFiles,
    Contents,
    FileContent,
    FileRead,
    FileView,
    FileWrite,
    Found,
    ListFiles,
    Listing,
    Piece,
    PieceStored,
    ReadFiles,
    SearchFiles,
    Take,
    WriteFiles,
)
from orlop.abi.limits import FILE_INLINE_BYTES_MAX, FILE_PIECE_BYTES, FILES_PER_CALL_MAX
from orlop.abi.replies import Done
from orlop.sdk.exchange import ROOT, Order

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Store:
    """A step that is no call: keep a piece of content; its answer is `Stored`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    pieces: tuple[Piece, ...]


Steps = Generator[Call | Store, Done | Stored, T]


def store_order(step: Store) -> Order:
    """Storing the same twice is storing it once."""
    return Order("POST", f"{ROOT}/pieces", step.data)


def read_stored(body: bytes) -> Stored:
    return Stored(msgspec.json.decode(body, type=PieceStored).pieces)


def changed(call: Call) -> Steps[Changed]:
    done = yield call
    return _done(done, Changed)


def write(
    path: str,
    content: bytes | Iterable[bytes],
    *,
    append: bool,
    if_version: int | None,
    labels: Sequence[str],
) -> Steps[int]:
    """The version that it made.  Of more than fits a call, pieces are stored first."""
    file = FileWrite(path=path, append=append, if_version=if_version, labels=tuple(labels))
    if isinstance(content, bytes) and len(content) <= FILE_INLINE_BYTES_MAX:
        file = replace(file, data=content)
    else:
        pieces: list[Piece] = []
        for data in cut([content] if isinstance(content, bytes) else content):
            done = yield Store(data)
            if not isinstance(done, Stored):
                raise Broken(f"a piece was answered with {type(done).__name__}")
            pieces += done.pieces
        file = replace(file, pieces=tuple(pieces))
    made = yield from changed(WriteFiles(files=(file,)))
    return made.files[0].version


def cut(stretches: Iterable[bytes]) -> Iterable[bytes]:
    """Of whatever lengths, as pieces."""
    rest = bytearray()
    for stretch in stretches:
        rest += stretch
        while len(rest) >= FILE_PIECE_BYTES:
            yield bytes(rest[:FILE_PIECE_BYTES])
            del rest[:FILE_PIECE_BYTES]
    if rest:
        yield bytes(rest)


def stretches(path: str, version: int | None, at: str) -> Steps[list[bytes]]:
    """A whole file, as it comes: all of one version."""
    first = yield from _stretch(FileRead(path=path, version=version), at)
    found, read, last = [first.data], len(first.data), first
    while read < first.size and last.data:
        wanted = first.version if first.pieces else None  # A mounted file has no versions.
        last = yield from _stretch(FileRead(path=first.path, version=wanted, offset=read), at)
        found.append(last.data)
        read += len(last.data)
    return found


def _stretch(wanted: FileRead, at: str) -> Steps[FileContent]:
    done = yield ReadFiles(files=(wanted,), at="" if wanted.version is not None else at)
    return _done(done, Contents).files[0]


def read(path: str, version: int | None = None, at: str = "") -> Steps[bytes]:
    found = yield from stretches(path, version, at)
    return b"".join(found)


def contents(paths: Iterable[str]) -> Steps[list[FileContent | None]]:
    """Small files whole, in few calls; None for those that are not there."""
    wanted, found = list(paths), list[FileContent | None]()
    while len(found) < len(wanted):
        batch = wanted[len(found) : len(found) + FILES_PER_CALL_MAX]
        done = yield ReadFiles(files=tuple(FileRead(path=path, optional=True) for path in batch))
        for content in _done(done, Contents).files:
            if len(content.data) < content.size:
                break
            found.append(content if content.version else None)
        else:
            continue
        version = content.version if content.pieces else None
        whole = yield from read(wanted[len(found)], version)
        found.append(msgspec.structs.replace(content, data=whole, size=len(whole)))
    return found


def read_those(paths: Iterable[str]) -> Steps[list[bytes | None]]:
    """Likewise, their bytes alone."""
    found = yield from contents(paths)
    return [None if content is None else content.data for content in found]


def read_many(paths: Iterable[str]) -> Steps[list[bytes]]:
    """Likewise.  Raises `NotFound`."""
    wanted = list(paths)
    found = yield from read_those(wanted)
    for path, data in zip(wanted, found, strict=True):
        if data is None:
            raise NotFound(f"there is no file {path}")
    return [data for data in found if data is not None]


def page(call: ListFiles) -> Steps[Sequence[FileView]]:
    done = yield call
    return _done(done, Listing).files


def listing(call: ListFiles) -> Steps[tuple[list[FileView], int]]:
    """All pages, and the event that the first is as of."""
    found: list[FileView] = []
    at: int | None = None
    while True:
        done = yield call
        page = _done(done, Listing)
        at = page.at if at is None else at
        found += page.files
        if not page.more:
            return found, at
        call = msgspec.structs.replace(call, after=page.more)


def search(text: str, path: str, limit: int, model: str) -> Steps[Found]:
    done = yield SearchFiles(text=text, path=path, limit=limit, model=model)
    return _done(done, Found)


def take(pipe: str) -> Steps[bytes]:
    done = yield Take(pipe=pipe)
    return _done(done, Contents).files[0].data


def diff(path: str, old: int, new: int | None) -> Steps[str]:
    """What two versions differ in, line by line."""
    before = yield from read(path, old)
    after = yield from read(path, new)
    try:
        lines = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        same = "are the same" if before == after else "differ"
        return f"{path}: {len(before)} and {len(after)} bytes that are no text {same}"
    names = f"{path} (version {old})", f"{path} ({f'version {new}' if new else 'now'})"
    return "\n".join(difflib.unified_diff(*lines, *names, lineterm=""))


def change(
    action: Literal["delete", "move", "copy", "rollback", "snapshot", "restore", "share"],
    path: str,
    *,
    to: str = "",
    version: int | None = None,
    at: str = "",
    if_version: int | None = None,
) -> ChangeFiles:
    return ChangeFiles(
        action=action, path=path, to=to, version=version, at=at, if_version=if_version
    )


def _done(done: Done | Stored, kind: type[T]) -> T:
    if not isinstance(done, kind):
        raise Broken(f"the kernel answered with {type(done).__name__}, not {kind.__name__}")
    return done
