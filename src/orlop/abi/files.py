"""Files: the calls, what they answer, and what the journal knows of them.

A path is absolute (`/shared/report.md`), or relative to the caller's own folder, `/home/NAME`.
Folders are there while files are in them.  Every change makes a new version; versions count from 1
for each path, and a deletion is one too.  Content is named, in pieces, by keyed digests, and stored
once a tenant.
"""

from typing import ClassVar, Literal

from msgspec import Struct

from orlop.abi.contexts import Context, ContextCall, ContextCompacted
from orlop.abi.hints import Facts, Hints
from orlop.abi.ids import Nanoseconds, ProcessId, Seq
from orlop.abi.pieces import Piece as Piece

FileRight = Literal["none", "read", "write"]
"""Each has those before it; `write` also lets share further."""

FileAction = Literal["delete", "move", "copy", "rollback", "snapshot", "restore", "share"]
FileKind = Literal["file", "folder", "deleted", "snapshot", "share", "mount"]


# The calls.


class FileWrite(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a `write`."""

    path: str
    data: bytes = b""
    pieces: tuple[Piece, ...] = ()
    """Content that was stored before (`POST /orlop/v1/pieces`), instead of `data`."""
    append: bool = False
    onto: str = ""
    """Begin with all of this other file, without storing it again."""
    if_version: int | None = None
    """Only where this is the newest version; 0: only where there is no such file."""
    labels: tuple[str, ...] = ()
    """Where its data came from, beside what the kernel knows."""


class WriteFiles(Struct, frozen=True, kw_only=True, tag="write", omit_defaults=True):
    """Write files, all of them or none."""

    TRANSPORT: ClassVar = ("hints",)

    files: tuple[FileWrite, ...]
    hints: Hints = Hints()


class FileRead(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a `read`."""

    path: str
    version: int | None = None
    """None: the newest."""
    offset: int = 0
    length: int | None = None
    """None: to its end, or as much as one call gives (`FILE_READ_BYTES_MAX`)."""
    optional: bool = False
    """If it is not there, say so by version 0, and give the others."""


class ReadFiles(Struct, frozen=True, kw_only=True, tag="read", omit_defaults=True):
    """Read files, all as of one moment."""

    TRANSPORT: ClassVar = ("hints",)

    files: tuple[FileRead, ...]
    at: str = ""
    """A snapshot's name, or a sequence number: as they were then."""
    hints: Hints = Hints()


class ListFiles(Struct, frozen=True, kw_only=True, tag="list", omit_defaults=True):
    """List a folder, a file's versions, or what is said of a folder."""

    TRANSPORT: ClassVar = ("hints",)

    path: str = ""
    what: Literal["files", "versions", "snapshots", "shares", "mounts"] = "files"
    deep: bool = False
    """All files below, and not only what lies in the folder itself."""
    at: str = ""
    """As in `ReadFiles`."""
    reverse: bool = False
    """From the last path back."""
    since: Seq | None = None
    """Only what was changed after this event, with what was deleted."""
    after: str = ""
    """The last path of the page before this one."""
    limit: int = 1_000
    hints: Hints = Hints()


class ChangeFiles(Struct, frozen=True, kw_only=True, tag="change", omit_defaults=True):
    """Delete, move or copy files or folders; take versions back; snapshot, restore, share.

    rollback: the file as it was at `version`, or a folder as it was at `at`, as new versions.
    snapshot: give the present state of a folder a name (`to`).
    restore: the folder as it was in the snapshot called `to`, as new versions.
    share: say what `who` (`agent:NAME`, `team:NAME`, `organisation`) may do below `path`.
    """

    TRANSPORT: ClassVar = ("hints",)

    action: FileAction
    path: str
    to: str = ""
    version: int | None = None
    at: str = ""
    if_version: int | None = None
    who: str = ""
    right: FileRight | None = "read"
    """None: as if nothing had been said of him."""
    hints: Hints = Hints()


class SearchFiles(Struct, frozen=True, kw_only=True, tag="search", omit_defaults=True):
    """Find text files by what is in them.

    model: embeds the question and the best candidates; empty: by words alone.
    """

    TRANSPORT: ClassVar = ("hints",)

    text: str
    path: str = "/"
    limit: int = 10
    model: str = ""
    hints: Hints = Hints()


class WatchFiles(Struct, frozen=True, kw_only=True, tag="watch", omit_defaults=True):
    """Wait until something below `path` has changed after `since`; parked: it holds no slot."""

    TRANSPORT: ClassVar = ("hints",)

    path: str
    since: Seq
    hints: Hints = Hints()


class Put(Struct, frozen=True, kw_only=True, tag="put", omit_defaults=True):
    """Put a message into a pipe; waits while it is full."""

    TRANSPORT: ClassVar = ("hints",)

    pipe: str
    """A path; it is there from its first message on."""
    data: bytes = b""
    pieces: tuple[Piece, ...] = ()
    hints: Hints = Hints()


class Take(Struct, frozen=True, kw_only=True, tag="take", omit_defaults=True):
    """Take the oldest message out of a pipe; waits for one.  Each is taken once."""

    TRANSPORT: ClassVar = ("hints",)

    pipe: str
    hints: Hints = Hints()


# What they answer.


class FileVersion(Struct, frozen=True, kw_only=True):
    path: str
    version: int


class Changed(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="changed"):
    """The end of a `write` or a `change`: the versions that it made."""

    files: tuple[FileVersion, ...] = ()
    at: Seq = Seq(0)
    """The event that did it, for `since` and `at`."""
    facts: Facts


class FileContent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of a file.  The journal keeps `pieces` and `skip` instead of `data`."""

    path: str
    version: int = 0
    size: int = 0
    """Of the whole file."""
    offset: int = 0
    data: bytes = b""
    pieces: tuple[Piece, ...] = ()
    """That it lies in; `skip`: bytes of them before `data`."""
    skip: int = 0
    length: int = 0
    """Of `data`."""
    labels: tuple[str, ...] = ()
    """Where what is in this version came from, as far as that is not trusted."""


class Contents(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="contents"):
    """The end of a `read`, in the order that was asked for; or of a `take`."""

    files: tuple[FileContent, ...]
    facts: Facts


class FileView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of a listing."""

    path: str
    kind: FileKind = "file"
    version: int = 0
    size: int = 0
    """Of a folder: of all files below it."""
    digest: str = ""
    """Equal for equal content that came in equal pieces, within a tenant."""
    seq: Seq = Seq(0)
    """The event that made it so."""
    at_ns: Nanoseconds = Nanoseconds(0)
    process: ProcessId = ProcessId("")
    """That made it so."""
    note: str = ""
    """Of a snapshot its name, of a share who may do what, of a mount its folder."""
    labels: tuple[str, ...] = ()
    """As in `FileContent`."""


class Listing(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="listing"):
    """The end of a `list` or a `watch`."""

    files: tuple[FileView, ...] = ()
    more: str = ""
    """There is more after this path."""
    at: Seq = Seq(0)
    """As of this event."""
    facts: Facts


class FileHit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    path: str
    version: int
    offset: int
    """Of the passage, in bytes."""
    text: str
    score: float
    """Higher is nearer; comparable within one answer only."""
    labels: tuple[str, ...] = ()
    """As in `FileContent`."""


class Found(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="found"):
    """The end of a `search`, the nearest first."""

    hits: tuple[FileHit, ...] = ()
    how: str = ""
    """What the order comes from: words alone, or words and a model's vectors."""
    unread: int = 0
    """Versions that are not indexed yet."""
    facts: Facts


# The events.


class FileChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A new version.  Its content: all of `base` (a version of `source`), then `pieces`."""

    path: str
    version: int
    pieces: tuple[Piece, ...] = ()
    base: int | None = None
    source: str = ""
    """Another path that `base` is a version of."""
    deleted: bool = False
    labels: tuple[str, ...] = ()
    """Of whoever wrote it; the version has those of `base` too."""


class FilesChanged(Struct, frozen=True, kw_only=True, tag_field="kind", tag="file.changed"):
    """The event brings the pieces that are new."""

    changes: tuple[FileChange, ...]


class PiecesStored(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="file.stored", omit_defaults=True
):
    """Content has come that a later `write` will name, or that goes into a mounted folder."""

    pieces: tuple[Piece, ...]
    path: str = ""
    """In a mounted folder, where that has labels: they stay on it from here on."""
    labels: tuple[str, ...] = ()


class FileSnapshot(Struct, frozen=True, kw_only=True, tag_field="kind", tag="file.snapshot"):
    """A name for a folder as it was at `at`."""

    path: str
    name: str
    at: Seq


class FileShared(Struct, frozen=True, kw_only=True, tag_field="kind", tag="file.shared"):
    path: str
    who: str
    right: FileRight | None
    """None: nothing is said of him any more."""


class FolderMounted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="file.mounted"):
    """What lies below `path` is, from here on, what lies in a folder of the host."""

    path: str
    folder: str
    writable: bool


class FolderUnmounted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="file.unmounted"):
    path: str


class PipePut(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="pipe.put", omit_defaults=True
):
    pipe: str
    pieces: tuple[Piece, ...]
    labels: tuple[str, ...] = ()


class PipeTaken(Struct, frozen=True, kw_only=True, tag_field="kind", tag="pipe.taken"):
    pipe: str
    put: Seq
    """The event that had put it in."""


FileEvent = (
    FilesChanged
    | PiecesStored
    | FileSnapshot
    | FileShared
    | FolderMounted
    | FolderUnmounted
    | PipePut
    | PipeTaken
    | ContextCompacted
)

FileCall = (
    WriteFiles
    | ReadFiles
    | ListFiles
    | ChangeFiles
    | SearchFiles
    | WatchFiles
    | Put
    | Take
    | ContextCall
)

FileReply = Changed | Contents | Listing | Found | Context


# For operators.


class MountOrder(Struct, frozen=True, kw_only=True):
    """`orlop files mount`: let agents see a folder of the host."""

    path: str
    folder: str
    writable: bool = False


class PieceStored(Struct, frozen=True, kw_only=True):
    """What `POST /orlop/v1/pieces` answers."""

    pieces: tuple[Piece, ...]
