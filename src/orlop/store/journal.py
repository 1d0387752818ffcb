"""The append-only truth.

Invariants:
1. Sequence numbers are gap-free from 1, and so are process sequence numbers within each process.
2. Commit, then anchor, then acknowledge: `durable(seq)` returns only after both.
3. What `append` stamped is committed in that order, or the journal stops for good (fail-stop).
4. At most one outcome a `key`.
5. A part (a message) is stored once a tenant; the event that brought it covers it in its digest.
"""

from collections.abc import Sequence

from msgspec import Struct

from orlop.abi.events import Header
from orlop.abi.ids import CallId, ProcessId, Seq, TenantId


class Part(Struct, frozen=True):
    """Something named by its content, stored once a tenant: a message.

    name: 16 bytes, from `Journal.name_of(tenant, data)`.
    """

    name: bytes
    data: bytes


class Draft(Struct, frozen=True, kw_only=True):
    """An event before it is stamped.  `body`: JSON of an `abi.events.Event`."""

    process: ProcessId
    kind: str
    body: bytes
    tenant: TenantId
    parts: tuple[Part, ...] = ()
    """Parts that this event needs; those already stored are left out by `append`."""
    call: CallId | None = None
    cause: Seq | None = None
    actor: str = ""
    """Empty: the process itself."""
    key: bytes | None = None
    """Outcomes only."""
    args_digest: bytes | None = None


class Stored(Struct, frozen=True):
    """An event as read back.  `body` is None where retention has pruned it."""

    header: Header
    body: bytes | None


__all__ = ["Draft", "Part", "Sequence", "Stored"]
