"""What kernels on one database have in common: one memory and one tree of files a tenant, and the
tenants themselves, with their keys and their own policies.

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
from orlop.abi.ids import DEFAULT_TENANT, TenantId
from orlop.abi.kernels import TenantForgotten
from orlop.abi.keys import KeyCreated, KeyRevoked
from orlop.abi.memory import (
    MemoryEvent,
    MemoryKindSet,
    MemoryModelChosen,
    MemoryRecalled,
    MemoryShared,
)
from orlop.abi.policy import PolicyRemoved, PolicySet
from orlop.abi.tenants import TenantCreated, TenantRemoved

_OWN: Final = (MemoryRecalled, ContextCompacted)
"""These say what a kernel's own process was given: nobody else need know."""

_TENANTS: Final = (TenantCreated, TenantRemoved, TenantForgotten, KeyCreated, KeyRevoked)
_POLICIES: Final = (PolicySet, PolicyRemoved)
"""Of a tenant of its own; the installation's is each kernel's, as its orlop.toml is."""

_COMMON: Final = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (*MemoryEvent.__args__, *FileEvent.__args__, *_TENANTS)
    if kind not in _OWN
)
_POLICY_KINDS: Final = frozenset(str(kind.__struct_config__.tag) for kind in _POLICIES)

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
        *_TENANTS,
        *_POLICIES,
    )
)
"""Of those, what every kernel holds in RAM."""


def is_common(kind: str, tenant: TenantId) -> bool:
    """Whether an event of this kind, of this tenant, is all kernels'."""
    return kind in _COMMON or (kind in _POLICY_KINDS and tenant != DEFAULT_TENANT)
