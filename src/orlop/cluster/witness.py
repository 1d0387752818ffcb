"""What this kernel has seen of the others' journals, kept in its own home.

An anchor beside what it watches over is restored with it, and a lost machine takes its own anchor
along.  So kernels that share a database are one another's witnesses: whoever takes a journal over
first asks whether it still holds what was last seen of it.
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.ids import JournalId, Seq
from orlop.store import files

KEEP_S: Final = 1.0
"""The least between two writes of the file."""


class Seen(Struct, frozen=True):
    """The newest event of a journal.  hash: hexadecimal."""

    seq: Seq
    hash: str


class Witness:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept_s = float("-inf")
        self._is_new = False
        try:
            self._seen = msgspec.json.decode(path.read_bytes(), type=dict[JournalId, Seen])
        except (OSError, msgspec.MsgspecError):
            self._seen = {}

    def note(self, journal: JournalId, seq: Seq, digest: bytes) -> None:
        known = self._seen.get(journal)
        if seq and (known is None or seq > known.seq):
            self._seen[journal] = Seen(seq, digest.hex())
            self._is_new = True

    def keep(self, now_s: float) -> None:
        """Blocks.  Not after every event: what is a second old is evidence enough."""
        if self._is_new and now_s - self._kept_s >= KEEP_S:
            files.replace(self._path, msgspec.json.encode(self._seen))
            self._kept_s, self._is_new = now_s, False

    def seen(self, journal: JournalId) -> Seen | None:
        return self._seen.get(journal)
