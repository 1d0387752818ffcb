"""Several kernels on one database: what the journal remembers of one another, and what is shown.

A process has one home at a time.  Where its kernel is lost, another takes it over: it arrives in
that one's journal with its own sequence going on, and once the old kernel is back, it leaves there.
"""

from typing import Final

from msgspec import Raw, Struct

from orlop.abi.ids import JournalId, Nanoseconds, Pid, ProcessId, Seq, TenantId
from orlop.abi.tenants import TenantEvent

ARRIVED: Final = "process.arrived"
"""Of a header: the one kind of event that may skip numbers of its process's own sequence."""

CALL_KINDS: Final = ("call.entered", "call.returned", "call.failed")
"""Kinds of events whose bodies may be pruned: what was asked and answered.  All else is what the
kernel's own tables, memories and files are made of."""

ELDER_BITS: Final = 40
"""A sequence number beyond this many bits names another journal's event: `number << 40 | seq`, its
number as in `JournalKnown`.  So an event refers across journals as it does within its own."""


class JournalKnown(Struct, frozen=True, kw_only=True, tag_field="kind", tag="journal.known"):
    """Another kernel's journal, whose processes this one has taken over; it is read from now on."""

    number: int
    """From 1: in this journal's references to that one's events."""
    journal: JournalId
    schema: str
    """Where it lies in the shared database."""
    host: str
    elders: dict[int, int] = {}
    """That journal's numbers of others, and ours of the same ones."""


class ProcessArrived(Struct, frozen=True, kw_only=True, tag_field="kind", tag=ARRIVED):
    """A process of a lost kernel has its home here now.  What came before is in the other journal,
    up to the event of this process that has the number before this one's."""

    pid: Pid
    """It has a new one."""
    elder: int
    """The number of the journal that it comes from."""
    state: Raw
    """Its row, open calls, questions, account: see `kernel.takeover.Belongings`."""


class ProcessLeft(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.left"):
    """Another kernel has taken the process over while this one was lost.  The kernel's own event:
    the process's own sequence goes on there."""

    process: ProcessId
    journal: JournalId
    host: str
    url: str


class JournalRestored(Struct, frozen=True, kw_only=True, tag_field="kind", tag="journal.restored"):
    """What lies before this event came from a backup; what was acknowledged after it is lost."""

    seq: Seq
    """The newest event of the backup."""
    made_ns: Nanoseconds
    lost: int | None = None
    """Acknowledged events that it lacks; None: not known."""


class BodiesPruned(Struct, frozen=True, kw_only=True, tag_field="kind", tag="journal.pruned"):
    """What was said in old calls is no longer kept; that they were made is."""

    before_ns: Nanoseconds
    kinds: tuple[str, ...]
    events: int
    bodies: int


class TenantForgotten(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tenant.forgotten"):
    """The tenant's key is gone: nothing that it sealed can be read again, by anybody."""

    reason: str
    tenant: TenantId = TenantId("")
    """Empty, of an earlier release: the reason says it."""


KernelsEvent = (
    JournalKnown | ProcessArrived | ProcessLeft | BodiesPruned | TenantForgotten | TenantEvent
)
"""Those that the kernel's tables heed."""


class PruneOrder(Struct, frozen=True, kw_only=True):
    """`orlop journal prune`."""

    older_s: float
    kinds: tuple[str, ...] = CALL_KINDS
    dry_run: bool = False


class ForgetOrder(Struct, frozen=True, kw_only=True):
    """`orlop journal forget`."""

    reason: str


class PruneView(Struct, frozen=True, kw_only=True):
    """What was pruned, or would be."""

    before_ns: Nanoseconds
    events: int
    """Whose own bodies are gone."""
    bodies: int
    """Those, and the messages that nothing else needs."""
    shared: int
    """Messages that stay, since something younger refers to them."""
    live: int
    """Events that stay, since their process has not ended."""


class KernelView(Struct, frozen=True, kw_only=True):
    """`orlop kernels`: one of those that share a database."""

    journal: JournalId
    schema: str
    host: str
    url: str
    epoch: int
    state: str
    """`up`, `stopped`, `lost`, `being taken over`, or `taken over`."""
    lease_s: float | None
    """How long its lease still holds; negative: for how long it has not held any more."""
    head: Seq
    taken_by: JournalId | None = None
    here: bool = False
    """It is the one that was asked."""
