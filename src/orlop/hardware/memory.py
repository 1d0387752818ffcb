"""How much RAM there is for us: the machine's, or what its container may use."""

from pathlib import Path
from typing import Final

import psutil

_UNLIMITED: Final = 1 << 60
"""cgroup v1 says a number beyond this where nothing is limited."""


def ram_bytes(root: Path = Path("/")) -> int:
    """root: where `sys` lies.  The smallest limit counts; a limit of an outer group is not seen."""
    limits = [int(psutil.virtual_memory().total)]
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (root / "sys/fs/cgroup" / file).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and 0 < int(text) < _UNLIMITED:
            limits.append(int(text))
    return min(limits)
