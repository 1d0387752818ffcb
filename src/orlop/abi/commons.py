"""What kernels on one database have in common: one memory and one tree of files a tenant.

Each event of these kinds lies in the journal of the kernel that wrote it, and has a *place*: its
number among all of them, whoever wrote them.  Memory and files count by places.
"""

from typing import Final

from orlop.abi.contexts import ContextCompacted
from orlop.abi.files import (
    FileEvent,
    FileShared,
    FileSnapshot,
    FolderMounted,
    FolderUnmounted,
    PipePut,
    PipeTaken,
)
from orlop.abi.memory import (
    MemoryEvent,
    MemoryKindSet,
    MemoryModelChosen,
    MemoryRecalled,
    MemoryShared,
)

_OWN: Final = (MemoryRecalled, ContextCompacted)
"""These say what a kernel's own process was given: nobody else need know."""

COMMON_KINDS: Final = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (*MemoryEvent.__args__, *FileEvent.__args__)
    if kind not in _OWN
)

TABLED_KINDS: Final = tuple(
    str(kind.__struct_config__.tag)
    for kind in (
        FileShared,
        FileSnapshot,
        FolderMounted,
        FolderUnmounted,
        PipePut,
        PipeTaken,
        MemoryShared,
        MemoryKindSet,
        MemoryModelChosen,
    )
)
"""Of those, what every kernel holds in RAM."""
