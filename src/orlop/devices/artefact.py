"""What a model's file is: its SHA-256, remembered beside it, and what a GGUF says of itself."""

import hashlib
import os
import struct
from pathlib import Path
from typing import Final

import msgspec

from orlop.abi.cards import ModelKind
from orlop.abi.errors import BadCall, DeviceFailed

_HEADER_BYTES: Final = 64 * 1024
_ARCHITECTURE: Final = b"general.architecture"
_STRING: Final = struct.Struct("<IQ")


class _Remembered(msgspec.Struct, frozen=True):
    """A digest holds for a file of this size and this time of change."""

    sha256: str
    size: int
    changed_ns: int


def sha256_of(path: Path) -> str:
    """Reads the whole file: about a second a gigabyte.  Hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(path: Path) -> str:
    """As `sha256_of`, but an unchanged file is read once: `NAME.sha256` beside it remembers."""
    return remembered_digest(path) or remember(path, sha256_of(path))


def verified(path: Path, wanted: str = "") -> str:
    """The digest of what lies there now, read whole.  Raises `DeviceFailed` where it is not the
    wanted one, or, where nobody wants one, not the remembered one: a file that changes and keeps
    its size and time was changed by a disk."""
    sha256 = sha256_of(path)
    remembered = remembered_digest(path)
    known = wanted or remembered
    if known and sha256 != known:
        raise DeviceFailed(
            f"{path} is not what it was: its SHA-256 is {sha256[:12]}…, not {known[:12]}…; "
            "bring it again with `orlop pull`"
        )
    return sha256 if sha256 == remembered else remember(path, sha256)


def remembered_digest(path: Path) -> str:
    """Empty where it was never computed, or the file has changed since; reads one small file."""
    note = path.with_name(f"{path.name}.sha256")
    try:
        stat = path.stat()
        known = msgspec.json.decode(note.read_bytes(), type=_Remembered)
    except (OSError, msgspec.DecodeError):
        return ""
    unchanged = (known.size, known.changed_ns) == (stat.st_size, stat.st_mtime_ns)
    return known.sha256 if unchanged else ""


def remember(path: Path, sha256: str) -> str:
    """Notes that `path`, as it is now, has this digest.  A read-only folder is no error."""
    stat = path.stat()
    note = _Remembered(sha256, stat.st_size, stat.st_mtime_ns)
    try:
        write_atomic(path.with_name(f"{path.name}.sha256"), msgspec.json.encode(note))
    except OSError:
        return sha256
    return sha256


def write_atomic(path: Path, content: bytes, mode: int = 0o644) -> None:
    """All of it or nothing: a new file beside `path`, fsynced, then renamed over it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def gguf_kind(path: Path) -> ModelKind:
    """Whether a GGUF holds a chat or an embedding model, by its architecture's name.

    Raises `BadCall` for a file that is no GGUF.  Format: ggml's docs/gguf.md; a key is followed by
    its type (32 bits), a string by its length (64 bits, little-endian); this key comes first.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header.startswith(b"GGUF"):
        raise BadCall(f"{path} is not a GGUF file: it does not begin with the letters GGUF")
    start = header.find(_ARCHITECTURE) + len(_ARCHITECTURE)
    if start < len(_ARCHITECTURE) or start + _STRING.size > len(header):
        return "chat"
    _, length = _STRING.unpack_from(header, start)
    name = header[start + _STRING.size :][:length]
    return "embed" if b"bert" in name else "chat"
