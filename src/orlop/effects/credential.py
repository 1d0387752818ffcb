"""Credentials of connectors: read once, from a file of their owner's or a variable, told nobody."""

import os
import stat
from pathlib import Path

from orlop.abi.errors import Misconfigured
from orlop.machine import redaction

SHOWN = "…"


def read(where: str, key_env: str, key_file: str) -> str:
    """Empty where neither is named.

    Raises `Misconfigured` where it is missing or open to others.
    """
    if key_env and key_file:
        raise Misconfigured(f"[{where}]: name `key_env` or `key_file`, not both")
    if key_env:
        if not (key := os.environ.get(key_env, "")):
            raise Misconfigured(f"[{where}] key_env: ${key_env} is not set")
        return redaction.hide(key)
    if not key_file:
        return ""
    path = Path(key_file).expanduser()
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Misconfigured(f"[{where}] key_file: {path} is open to others; `chmod 600 {path}`")
        key = path.read_text().strip()
    except OSError as error:
        raise Misconfigured(f"[{where}] key_file: can't be read: {error}") from error
    if not key:
        raise Misconfigured(f"[{where}] key_file: {path} is empty")
    return redaction.hide(key)


def hidden(text: str, key: str) -> str:
    """What a system says, without the credential that it was given."""
    return text.replace(key, SHOWN) if key else text
