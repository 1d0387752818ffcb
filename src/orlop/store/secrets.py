"""Small secrets in files of their own, made once and readable by their owner only."""

import os
import secrets
import stat
from pathlib import Path

from orlop.abi.errors import Misconfigured
from orlop.abi.limits import SECRET_BYTES_MAX
from orlop.store import files


def secret_file(path: Path, prefix: str = "") -> str:
    """The secret in `path`, made now if there is none.  Raises `Misconfigured` if others can read
    it."""
    files.private_folder(path.parent)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_secret(path)
    with os.fdopen(handle, "w") as file:
        secret = prefix + secrets.token_hex(32)
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    return secret


def read_secret(path: Path) -> str:
    """What a file that is its owner's alone says, without its line's end.  Raises `Misconfigured`:
    others can read it, it can't be read, or it is empty."""
    require_private(path)
    try:
        with path.open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the secret in {path} can't be read: {error}") from error
    if not secret or len(secret) > SECRET_BYTES_MAX:
        raise Misconfigured(f"{path} should hold a secret of 1 to {SECRET_BYTES_MAX} bytes")
    return secret


def require_private(path: Path) -> None:
    """Raises `Misconfigured` where anybody but the owner may read or change it."""
    try:
        found = path.stat()
    except OSError as error:
        raise Misconfigured(f"{path} can't be looked at: {error}") from error
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Misconfigured(f"{path} is open to others; `chmod 600 {path}`")
    if found.st_uid not in (os.getuid(), 0):
        raise Misconfigured(f"{path} belongs to another user; `chown {os.getuid()} {path}`")
