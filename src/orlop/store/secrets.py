"""Small secrets in files of their own, made once and readable by their owner only."""

import os
import secrets
from pathlib import Path

from orlop.abi.errors import Misconfigured
from orlop.store import files


def secret_file(path: Path, prefix: str = "") -> str:
    """The secret in `path`, made now if there is none.  Raises `Misconfigured` if others can read
    it."""
    files.private_folder(path.parent)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise Misconfigured(f"{path} is open to others; `chmod 600 {path}`") from None
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(handle, "w") as file:
        secret = prefix + secrets.token_hex(32)
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    return secret
