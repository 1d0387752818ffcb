"""Folders of the host as tools: listed, read and, where that is said, changed.

No path leads out of the folder: none goes up, and no symbolic link is followed.  A change happens
once for one effect, since the file system itself is asked whether it has (`folder_changes`), and is
undone by the tool `NAME.undo` when its saga is given up.
"""

import base64
import binascii
import codecs
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from orlop.abi.cards import Approval, Effect, ToolCard, Trust
from orlop.abi.errors import BadCall, Denied, Misconfigured, NotFound, ToolFailed
from orlop.abi.limits import (
    FILE_NAME_BYTES_MAX,
    FILE_PATH_BYTES_MAX,
    FOLDER_BYTES_MAX,
    FOLDER_LISTED_MAX,
    FOLDER_READ_BYTES_MAX,
)
from orlop.effects.folder_changes import NO_FILE, OUTBOX, Changes, Words
from orlop.machine import jail
from orlop.machine.clock import NS_PER_S, Clock
from orlop.machine.offload import Offload
from orlop.machine.ranges import Limit, Many, Seconds

T = TypeVar("T")

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

TIDY_S: Final = 3_600.0
"""Between two looks for what need not be kept any longer."""

PREVIEW_BYTES_MAX: Final = 262_144
"""Of a file whose differences are shown to a person; of a longer one its size is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConfig:
    """One `[folders.NAME]` table of orlop.toml: the tools `NAME.list`, `NAME.read` and others."""

    path: str
    """The folder of the host, from `/` or `~/` on; it must not have the kernel's home in it."""
    writes: bool = False
    """Whether it may be changed; without this there are `NAME.list` and `NAME.read` only."""
    description: str = ""
    """For models and people: what lies in it."""
    approval: Approval = "never"
    """`always`: a person must agree to each change, and sees it."""
    bytes_max: Many = 8_388_608
    """The largest file that may be written."""
    keep_s: Seconds = 604_800.0
    """How long what a change has replaced or removed is kept, so that it can be undone."""
    timeout_s: Limit = 60.0
    """How long one call may take."""
    system: str = ""
    """The external system whose limits its calls share; by default none."""
    trust: Trust = "trusted"
    """`untrusted`: strangers may have written what lies in it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One tool of a folder."""

    says: str
    effect: Effect
    properties: Mapping[str, object]
    required: tuple[str, ...]


PATH: Final = {"type": "string", "minLength": 1, "maxLength": FILE_PATH_BYTES_MAX}
VERSION: Final = {
    "type": "string",
    "description": f"as `read` and `list` give it; {NO_FILE!r}: there must be none",
}
CONTENT: Final = {
    "path": PATH,
    "text": {"type": "string"},
    "base64": {"type": "string", "description": "instead of `text`, for what is not text"},
    "if_version": VERSION,
}
OPERATIONS: Final[Mapping[str, Operation]] = {
    "list": Operation(
        "The names in a folder", "pure", {"path": {"type": "string", "default": ""}}, ()
    ),
    "read": Operation(
        "What is in a file",
        "pure",
        {
            "path": PATH,
            "offset": {"type": "integer", "minimum": 0},
            "bytes": {"type": "integer", "minimum": 4, "maximum": FOLDER_READ_BYTES_MAX},
            "as": {"enum": ["text", "base64"]},
        },
        ("path",),
    ),
    "write": Operation(
        "Make a file, or replace all that is in it", "idempotent", CONTENT, ("path",)
    ),
    "append": Operation("Add to the end of a file", "idempotent", CONTENT, ("path",)),
    "remove": Operation(
        "Remove a file", "idempotent", {"path": PATH, "if_version": VERSION}, ("path",)
    ),
    "move": Operation(
        "Give a file another name, which nothing has yet",
        "idempotent",
        {"path": PATH, "to": PATH, "if_version": VERSION},
        ("path", "to"),
    ),
    "undo": Operation(
        "Undo a change that nothing has changed again, by its `effect`",
        "idempotent",
        {"effect": {"type": "string", "minLength": 1}},
        ("effect",),
    ),
}
"""By what they do; all but the first two change something."""

READING: Final = ("list", "read")


def check(folders: Mapping[str, FolderConfig], home: Path) -> None:
    """Raises `Misconfigured`."""
    for name, config in folders.items():
        if not NAME.fullmatch(name):
            raise Misconfigured(f"[folders.{name}]: names are letters, digits, `_` and `-`")
        path = Path(config.path).expanduser()
        if not path.is_absolute() or "\0" in config.path:
            raise Misconfigured(f"[folders.{name}] path: write it in full, from / or ~/ on")
        real, own = path.resolve(), home.resolve()
        if real == own or real in own.parents or own in real.parents:
            raise Misconfigured(
                f"[folders.{name}] path: {path} and the kernel's home, {home}, lie in one another"
            )
        if config.bytes_max > FOLDER_BYTES_MAX:
            raise Misconfigured(
                f"[folders.{name}] bytes_max: at most {FOLDER_BYTES_MAX} (FOLDER_BYTES_MAX)"
            )


class Folder:
    """One folder.  changing, reading: where that is done; changes are made one after another."""

    def __init__(
        self, config: FolderConfig, clock: Clock, changing: Offload, reading: Offload
    ) -> None:
        self.root = Path(config.path).expanduser()
        self.config = config
        self.changes = Changes(self.root, config.bytes_max)
        self._clock = clock
        self._changing = changing
        self._reading = reading
        self._tidy_s = clock.now_s()

    async def look(self, work: Callable[[], T]) -> T:
        return await self._reading(_told, work)

    async def change(self, work: Callable[[], T]) -> T:
        now_s = self._clock.now_s()
        if now_s >= self._tidy_s:
            self._tidy_s = now_s + TIDY_S
            before_ns = self._clock.wall_ns() - round(self.config.keep_s * NS_PER_S)
            await self._changing(_told, lambda: self.changes.forget(before_ns))
        return await self._changing(_told, work)


def _told(work: Callable[[], T]) -> T:
    """`NotFound` and the like are said of calls; a file that is not there is the tool's failure."""
    try:
        return work()
    except (NotFound, Denied) as error:
        raise ToolFailed(error.message) from error


class FolderTool:
    """One thing that may be done in a folder."""

    def __init__(self, name: str, folder: Folder, does: str) -> None:
        self._folder = folder
        self._does = does
        config, operation = folder.config, OPERATIONS[does]
        changes = does not in READING
        undo = f"{name}.undo" if changes and does != "undo" else ""
        about = f", in: {config.description}" if config.description else ""
        self.card = ToolCard(
            name=f"{name}.{does}",
            description=f"{operation.says}{about}.",
            parameters={
                "type": "object",
                "properties": dict(operation.properties),
                "required": list(operation.required),
                "additionalProperties": False,
            },
            effect=operation.effect,
            timeout_s=config.timeout_s,
            approval=config.approval if changes else "never",
            compensate=undo,
            compensate_with={"effect": "{key}"} if undo else {},
            system=config.system,
            trust=config.trust,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        """Raises `ToolFailed` and `BadCall` where nothing was changed."""
        folder, changes = self._folder, self._folder.changes
        version = str(arguments.get("if_version", ""))
        match self._does:
            case "list":
                way = words(arguments.get("path", ""), folder=True)
                return await folder.look(lambda: _listed(folder.root, way))
            case "read":
                way = words(arguments.get("path"))
                return await folder.look(lambda: _read(folder.root, way, arguments))
            case "write" | "append":
                way, data = words(arguments.get("path")), content(arguments)
                more = self._does == "append"
                return await folder.change(
                    lambda: changes.write(way, data, key, if_version=version, append=more)
                )
            case "remove":
                way = words(arguments.get("path"))
                return await folder.change(lambda: changes.remove(way, key, if_version=version))
            case "move":
                way, to = words(arguments.get("path")), words(arguments.get("to"))
                return await folder.change(lambda: changes.move(way, to, key, if_version=version))
            case _:
                effect = str(arguments.get("effect", ""))
                return await folder.change(lambda: changes.undo(effect, key))

    async def happened(self, key: str) -> bool | None:
        if self._does in READING:
            return None
        return await self._folder.change(lambda: self._folder.changes.happened(key))

    async def preview(self, arguments: Mapping[str, object], limit_s: float) -> str:
        """What a write or an append would change, line by line."""
        if self._does not in ("write", "append"):
            return ""
        way, data = words(arguments.get("path")), content(arguments)
        more = self._does == "append"
        return await self._folder.look(lambda: _difference(self._folder.root, way, data, more))


def tools(name: str, folder: Folder) -> list[FolderTool]:
    wanted = OPERATIONS if folder.config.writes else READING
    return [FolderTool(name, folder, does) for does in wanted]


def words(path: object, *, folder: bool = False) -> Words:
    """The names on the way to a file.  Raises `BadCall`."""
    if not isinstance(path, str):
        raise BadCall("path: which file?")
    way = tuple(word for word in path.split("/") if word) if folder else tuple(path.split("/"))
    for word in way:
        if word in ("", ".", "..") or "\0" in word:
            raise BadCall(f"path {path[:100]!r}: names with `/` between them, from the folder on")
        if len(word.encode(errors="surrogatepass")) > FILE_NAME_BYTES_MAX:
            raise BadCall(f"path: a name has at most {FILE_NAME_BYTES_MAX} bytes")
    if way and way[0] == OUTBOX:
        raise BadCall(f"path: {OUTBOX} is where the kernel keeps what it has changed")
    return way


def content(arguments: Mapping[str, object]) -> bytes:
    """Raises `BadCall`."""
    text, packed = arguments.get("text"), arguments.get("base64")
    if isinstance(text, str) and packed is None:
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise BadCall(f"text: {error.reason}; `base64` takes any bytes") from error
    if isinstance(packed, str) and text is None:
        try:
            return base64.b64decode(packed, validate=True)
        except binascii.Error as error:
            raise BadCall(f"base64: {error}") from error
    raise BadCall("text, base64: one of them, and not both")


def _listed(root: Path, way: Words) -> dict[str, object]:
    found = jail.listed(root, way, FOLDER_LISTED_MAX + 2)
    entries = [
        {"name": one.name, "folder": True}
        if one.is_folder
        else {"name": one.name, "size": one.size, "version": one.mark}
        for one in found
        if way or one.name != OUTBOX
    ]
    more = len(entries) > FOLDER_LISTED_MAX
    return {"entries": entries[:FOLDER_LISTED_MAX], "more": more}


def _read(root: Path, way: Words, arguments: Mapping[str, object]) -> dict[str, object]:
    offset, length = arguments.get("offset", 0), arguments.get("bytes", FOLDER_READ_BYTES_MAX)
    if not isinstance(offset, int) or not isinstance(length, int):
        raise BadCall("offset, bytes: whole numbers")
    there, data = jail.read(root, way, offset, length)
    known: dict[str, object] = {"size": there.size, "version": there.mark}
    if arguments.get("as") == "base64":
        known["base64"] = base64.b64encode(data).decode()
    else:
        data, known["text"] = _text(data, is_end=offset + len(data) >= there.size)
    if offset + len(data) < there.size:
        known["next"] = offset + len(data)
    return known


def _text(data: bytes, *, is_end: bool) -> tuple[bytes, str]:
    """Whole characters only: one that is cut in two is left for the next piece."""
    reader = codecs.getincrementaldecoder("utf-8")()
    try:
        text = reader.decode(data, final=is_end)
    except UnicodeDecodeError as error:
        raise ToolFailed('it is not UTF-8 text: read it as "base64"') from error
    left = reader.getstate()[0]
    return data[: len(data) - len(left)], text


def _difference(root: Path, way: Words, data: bytes, more: bool) -> str:
    path, there = "/".join(way), jail.look(root, way)
    size = there.size if there is not None else 0
    if size + len(data) > PREVIEW_BYTES_MAX:
        return f"{path}: {size} bytes before, {len(data) + size * more} bytes after"
    before = jail.read(root, way, 0, size)[1] if there is not None else b""
    after = before + data if more else data
    lines = difflib.unified_diff(
        before.decode(errors="replace").splitlines(),
        after.decode(errors="replace").splitlines(),
        path if there is not None else "(nothing)",
        path,
        lineterm="",
    )
    return "\n".join(lines)
