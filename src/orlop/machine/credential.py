"""Keys and passwords of orlop.toml: from a file of their owner's or a variable, told nobody."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orlop.abi.errors import Misconfigured
from orlop.machine import redaction

SHOWN: Final = "…"
PASSWORD: Final = re.compile(r"^(\w+://[^:/@]*:)[^@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyConfig:
    """What the tables have in common that name a key or a password."""

    key_env: str = ""
    """The environment variable that holds its key or password, which never comes from callers."""
    key_file: str = ""
    """The file that holds it instead, readable by its owner only."""

    def key(self, where: str) -> str:
        """Empty where neither is named.  where: how messages say which table it is.

        Raises `Misconfigured` where it is missing or open to others.
        """
        if self.key_env and self.key_file:
            raise Misconfigured(f"{where}: name `key_env` or `key_file`, not both")
        if self.key_env:
            if not (key := os.environ.get(self.key_env, "")):
                raise Misconfigured(f"{where} key_env: ${self.key_env} is not set")
            return redaction.hide(key)
        return from_file(f"{where} key_file", self.key_file) if self.key_file else ""


def from_file(where: str, file: str) -> str:
    """What its owner alone can read there.  Raises `Misconfigured`."""
    path = Path(file).expanduser()
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Misconfigured(f"{where}: {path} is open to others; `chmod 600 {path}`")
        key = path.read_text().strip()
    except OSError as error:
        raise Misconfigured(f"{where}: can't be read: {error}") from error
    if not key:
        raise Misconfigured(f"{where}: {path} is empty")
    return redaction.hide(key)


def hidden(text: str, key: str) -> str:
    """What a system says, without the credential that it was given."""
    return text.replace(key, SHOWN) if key else text


def without_password(url: str) -> str:
    """A url for people to read, whatever somebody has written into it."""
    return PASSWORD.sub(r"\1…@", url)
