"""What operators see of memories, and what they order."""

from msgspec import Struct

from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.memory import Memory, MemoryId, ShareAccess


class Difference(Struct, frozen=True, kw_only=True):
    """One memory between two moments."""

    memory: MemoryId
    key: str = ""
    before: Memory | None
    after: Memory | None


class Use(Struct, frozen=True, kw_only=True):
    """A recall that gave a memory, and what its process did next."""

    seq: Seq
    version: int
    score: float
    process: ProcessId
    call: CallId
    wall_ns: Nanoseconds
    then: tuple[str, ...] = ()
    """The calls that followed, up to the next recall: `infer cal_…`."""
    kernel: str = ""
    """Whose journal has it, where that is not the one that was asked: its schema."""


class Why(Struct, frozen=True, kw_only=True):
    """A memory's life: what taught it, and the answers that used it."""

    history: tuple[Memory, ...]
    uses: tuple[Use, ...]
    kernels: dict[str, str] = {}
    """Of calls that other kernels' journals have: whose, by its schema."""


class Shelf(Struct, frozen=True, kw_only=True):
    """What one tenant's memories take in RAM."""

    tenant: TenantId
    bytes: int
    bytes_max: int
    blocks: int
    pinned: tuple[str, ...]
    hits: int
    misses: int
    evictions: int


class MemoryStats(Struct, frozen=True, kw_only=True):
    """`orlop memory stats`."""

    current: int
    versions: int
    namespaces: int
    vectors: dict[str, int]
    """By model."""
    model: str
    """Whose vectors are searched."""
    wanted: str = ""
    """Whose shall be, once all memories have one."""
    applied_seq: Seq
    disk_bytes: int
    shelves: tuple[Shelf, ...]
    recalls: int
    store: str = "embedded"
    note: str = ""


# Operators' orders.


class RollbackOrder(Struct, frozen=True, kw_only=True):
    """`orlop memory rollback`: the namespace as it was; what came since stays in the history."""

    namespace: str
    seq: Seq
    reason: str = ""


class ShareOrder(Struct, frozen=True, kw_only=True):
    namespace: str
    whom: str
    access: tuple[ShareAccess, ...] = ()


class KindOrder(Struct, frozen=True, kw_only=True):
    name: str
    schema: dict[str, object]


class SubjectOrder(Struct, frozen=True, kw_only=True):
    """Merge: all identifiers of those named are one subject's.  Split: they are another's."""

    identifiers: tuple[str, ...]
    split: bool = False
    reason: str = ""


class EraseOrder(Struct, frozen=True, kw_only=True):
    subject: str
    reason: str = ""


class Certificate(Struct, frozen=True, kw_only=True):
    """Signed with the journal's key over the RFC 8785 form of all but `signature`."""

    journal: str
    seq: Seq
    subject_digest: str
    versions: int
    struck: tuple[Seq, ...]
    wall_ns: Nanoseconds
    signature: str


class Exported(Memory, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an export.  Its vector: only where vectors were asked for, and it has one."""

    vector: tuple[float, ...] = ()
    vector_model: str = ""


class ReembedOrder(Struct, frozen=True, kw_only=True):
    """Compute another model's vectors in the background, then search by them."""

    model: str


class TidyReport(Struct, frozen=True, kw_only=True):
    """What `orlop memory tidy` did, each in a step of its own."""

    read: int
    merged: int
    resolved: int
    faded: int
    summarised: int
    conflicts: int
    """Memories that changed while they were looked at: left alone."""
    note: str = ""


class ImportReport(Struct, frozen=True, kw_only=True):
    read: int
    written: int
    skipped: tuple[str, ...] = ()
