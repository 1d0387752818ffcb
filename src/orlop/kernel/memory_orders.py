"""What operators do to memories: take a namespace back, share it, give kinds a schema, join and
part subjects.  Each is an event; nothing that was known is lost.
"""

from orlop.abi.errors import BadCall, Exhausted, TooLarge
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, TenantId
from orlop.abi.limits import MEMORY_ROLLBACK_MAX, MEMORY_SHARES_MAX
from orlop.abi.memory import MemoryKindSet, MemoryShared, SubjectsLinked, Written
from orlop.abi.memory_orders import KindOrder, RollbackOrder, ShareOrder, SubjectOrder
from orlop.kernel.memory_views import require_space
from orlop.kernel.sys_memory import memories_of, require_past
from orlop.machine.chance import mint
from orlop.memory import accounts as memory_accounts
from orlop.memory.heads import changed_since, heads_of
from orlop.state.core import Kernel
from orlop.subsystems import memory_spaces
from orlop.subsystems.memory_plan import Plan
from orlop.tools.schema import Schema


async def rollback(
    kernel: Kernel, order: RollbackOrder, tenant: TenantId = DEFAULT_TENANT
) -> list[Written]:
    """The namespace as it was at `seq`: what came since is closed, what was closed is opened again,
    as new versions.  Raises `Conflict` where something is sealed."""
    memory_spaces.check(order.namespace)
    memories = memories_of(kernel)
    source = memories.projection.source
    await source.flush()
    await source.refresh()
    require_past(memories, seq=order.seq)
    await require_space(memories, tenant, order.namespace)
    seen, changed = await memories.read(
        memory_accounts.seen_and_changed, tenant, order.namespace, order.seq
    )
    await memories.ready()
    late = memories.projection.look(changed_since, tenant, order.namespace, seen)
    ids = dict.fromkeys([*changed, *late, *memories.written_in(tenant, order.namespace)])
    if len(ids) > MEMORY_ROLLBACK_MAX:
        raise TooLarge(f"{len(ids)} memories would change; at most {MEMORY_ROLLBACK_MAX}")
    plan = Plan(kernel, memories, tenant, KERNEL_PROCESS, order.namespace)
    for id in ids:
        then = memories.projection.look(heads_of, id, order.seq)
        plan.restore(id, then)
    # From here on only the journal can fail.
    if not plan.changes:
        return []
    reason = f"rollback to {order.seq}" + (f": {order.reason}" if order.reason else "")
    seq = plan.write(None, reason=reason)
    await kernel.journal.durable(seq)
    return plan.written


async def share(
    kernel: Kernel, order: ShareOrder, tenant: TenantId = DEFAULT_TENANT
) -> list[MemoryShared]:
    """Open a private namespace to others, or close it again (no access)."""
    memory_spaces.check(order.namespace)
    await alone(kernel)
    kind, _, name = order.whom.partition(":")
    if order.whom != "*" and (kind not in ("agent", "team") or not name.isprintable() or not name):
        raise BadCall("whom: `agent:NAME`, `team:NAME`, or `*`")
    if len(kernel.tables.memory.shares) >= MEMORY_SHARES_MAX:
        raise Exhausted(f"{MEMORY_SHARES_MAX} namespaces are shared (MEMORY_SHARES_MAX)")
    event = MemoryShared(
        namespace=order.namespace, whom=order.whom, access=tuple(sorted(set(order.access)))
    )
    await _record(kernel, tenant, event)
    return shares(kernel, tenant)


def shares(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT) -> list[MemoryShared]:
    return [
        MemoryShared(namespace=namespace, whom=whom, access=access)
        for (owner, namespace), shared in sorted(kernel.tables.memory.shares.items())
        if owner == tenant
        for whom, access in sorted(shared.items())
    ]


async def set_kind(
    kernel: Kernel, order: KindOrder, tenant: TenantId = DEFAULT_TENANT
) -> MemoryKindSet:
    """A new version of a kind's schema.  What is there already keeps the version that it met."""
    if not order.name or not order.name.isprintable():
        raise BadCall("name: of a kind")
    Schema(order.schema)
    await alone(kernel)
    if len(kernel.tables.memory.kinds) >= MEMORY_SHARES_MAX:
        raise Exhausted(f"{MEMORY_SHARES_MAX} kinds have schemas (MEMORY_SHARES_MAX)")
    known = kernel.tables.memory.kinds.get((tenant, order.name))
    event = MemoryKindSet(
        memory_kind=order.name,
        version=1 if known is None else known.version + 1,
        schema=order.schema,
    )
    await _record(kernel, tenant, event)
    return event


async def subjects(
    kernel: Kernel, order: SubjectOrder, tenant: TenantId = DEFAULT_TENANT
) -> SubjectsLinked:
    """Merge: all identifiers of those named are one subject's.  Split: they are another's."""
    names = tuple(dict.fromkeys(name.strip() for name in order.identifiers if name.strip()))
    if not names or (not order.split and len(names) < 2):
        raise BadCall("identifiers: two or more to merge, one or more to split")
    memories = memories_of(kernel)
    if order.split:
        subject, moved = mint("sub", kernel.chance, kernel.clock.wall_ns()), names
    else:
        subject, moved = await memories.read(memory_accounts.merged, tenant, names)
    await alone(kernel)
    event = SubjectsLinked(subject=subject, identifiers=moved, reason=order.reason)
    await _record(kernel, tenant, event)
    return event


async def alone(kernel: Kernel) -> None:
    """Until the next wait nobody else writes what kernels have in common."""
    if kernel.memories is not None and kernel.memories.commons is not None:
        await kernel.memories.ready()


async def _record(
    kernel: Kernel, tenant: TenantId, event: MemoryShared | MemoryKindSet | SubjectsLinked
) -> None:
    seq = kernel.emit(KERNEL_PROCESS, tenant, event).seq
    await kernel.journal.durable(seq)


def kinds(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT) -> list[MemoryKindSet]:
    """The newest schema of each kind that has one."""
    rows = sorted(kernel.tables.memory.kinds.items())
    return [kind for (owner, _), kind in rows if owner == tenant]
