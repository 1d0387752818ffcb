"""What a file of llama.cpp's saved slot says of itself: the token ids that it holds the KV of.

Layout (llama.cpp, `llama_state_seq_save_file`, little-endian 32-bit words): magic `ggsq`, version,
how many words follow, those words, then the KV.  The server's words are -1, a version, the number
of tokens, the tokens, and places of media; before 2026 they were the tokens alone.
"""

import struct
from array import array
from pathlib import Path
from typing import Final

from orlop.abi.limits import TOKEN_MAX

_MAGIC: Final = 0x67677371
_HEAD: Final = struct.Struct("<III")
_WORDS_MAX: Final = 16 * 1024 * 1024
_PACKED: Final = -1
_PACKED_HEAD_WORDS: Final = 3


def tokens_in(path: Path) -> tuple[int, ...]:
    """The token ids; empty where the file is of a layout that we do not know."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return ()
            magic, _, count = _HEAD.unpack(head)
            if magic != _MAGIC or not 0 < count <= _WORDS_MAX:
                return ()
            raw = file.read(4 * count)
    except OSError:
        return ()
    words = array("i", raw[: len(raw) - len(raw) % 4])
    return _unpacked(words) if len(words) == count else ()


def _unpacked(words: "array[int]") -> tuple[int, ...]:
    if words[0] != _PACKED:
        tokens = tuple(words)
    else:
        end = _PACKED_HEAD_WORDS + (words[2] if len(words) >= _PACKED_HEAD_WORDS else 0)
        if not _PACKED_HEAD_WORDS < end <= len(words):
            return ()
        tokens = tuple(words[_PACKED_HEAD_WORDS:end])
    return tokens if all(0 <= token <= TOKEN_MAX for token in tokens) else ()
