"""What goes into the journal, how it lies there, and what comes out again.  No logic."""

from msgspec import Struct

from orlop.abi.events import Header
from orlop.abi.ids import BootId, CallId, JournalId, ProcessId, Seq, TenantId


class Part(Struct, frozen=True, gc=False):
    """Something named by its content, stored once a tenant: a message.

    name: 16 bytes, from `Journal.name_of(tenant, data)`.
    """

    name: bytes
    data: bytes
    packed: bytes = b""
    """As `store.pack` makes it, where somebody has done so, beside the event loop."""


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
    place: Seq | None = None
    """Among what kernels on one database have in common; None: nothing of that."""


class Stored(Struct, frozen=True, gc=False):
    """An event as read back.  `body` is None where retention or a forgotten key took it."""

    header: Header
    body: bytes | None
    shares: bool = False
    """Its row holds others too (`store.whole`): its body can't be forgotten alone."""


class Body(Struct, frozen=True, gc=False):
    """The sealed body of a part.  `place`: `seq << 16 | part`; part 0 is the event's own.

    data: the ciphertext; None where it was pruned, or its blob is missing.
    digest: SHA-256 of the ciphertext; None where `data` is small and there to be hashed.
    blob: the name of the file that holds the ciphertext; in the row itself where None.
    """

    place: int
    key_id: int
    data: bytes | None
    name: bytes | None = None
    digest: bytes | None = None
    blob: str | None = None


class Row(Struct, frozen=True, gc=False):
    """One event on tape, with its own body (flat: this is made a hundred thousand times a second).

    text: the header's JSON, exactly as hashed.  prev: the hash of the event before.
    parts: the digests (32 bytes each) of the parts that it brought, joined.
    key_id: None where the body is missing altogether; data, digest, blob: as in `Body`.
    """

    seq: Seq
    text: bytes
    hash: bytes
    parts: bytes
    prev: bytes
    key_id: int | None
    data: bytes | None
    digest: bytes | None = None
    blob: str | None = None


class Entry(Struct, frozen=True, gc=False):
    """What is written at once: an event, and the parts that it brings."""

    row: Row
    header: Header
    brought: tuple[Body, ...] = ()


class Checkpoint(Struct, frozen=True, gc=False):
    """A signed statement about the first `size` events.

    frontier: the hashes of the perfect subtrees, left to right, joined; the root follows from it.
    note: a C2SP signed note.
    """

    size: int
    root: bytes
    frontier: bytes
    note: str


class Meta(Struct, frozen=True):
    """Which journal this is, and in which format it is written."""

    journal: JournalId
    format: int


class Boot(Struct, frozen=True):
    """One life of a kernel, by its epoch."""

    epoch: int
    boot: BootId
