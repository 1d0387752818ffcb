"""What operators see of memories: a life, two moments, the accounts."""

from collections.abc import Sequence
from typing import Final

from orlop.abi.errors import BadCall, NotFound
from orlop.abi.ids import DEFAULT_TENANT, Seq, TenantId
from orlop.abi.memory import Memory, MemoryId
from orlop.abi.memory_orders import Difference, Exported, MemoryStats
from orlop.kernel.memory_vectors import model_of, wanted_of
from orlop.kernel.sys_memory import memories_of, require_past
from orlop.memory import accounts as memory_accounts
from orlop.memory import reading
from orlop.memory.memories import Memories
from orlop.state.core import Kernel
from orlop.subsystems import memory_spaces

EXPORT_PAGE: Final = 1_000


async def history(kernel: Kernel, memory: str, tenant: TenantId = DEFAULT_TENANT) -> list[Memory]:
    """All versions, oldest first.  Raises `NotFound`."""
    memories = memories_of(kernel)
    found = await memories.read(reading.history, tenant, MemoryId(memory), kernel.clock.wall_ns())
    if not found:
        raise NotFound(f"no memory {memory[:100]!r}; `orlop memory recall` finds them")
    return found


async def diff(
    kernel: Kernel,
    namespace: str,
    before: Seq,
    after: Seq | None,
    tenant: TenantId = DEFAULT_TENANT,
) -> list[Difference]:
    """What changed between two moments; None: until now."""
    memory_spaces.check(namespace)
    memories = memories_of(kernel)
    await memories.current()
    require_past(memories, before=before, after=after)
    if after is None:
        after = memories.projection.source.head_seq
    if before > after:
        raise BadCall("before, after: in the order of the journal")
    await require_space(memories, tenant, namespace)
    return await memories.read(
        memory_accounts.differences, tenant, namespace, before, after, kernel.clock.wall_ns()
    )


async def require_space(memories: Memories, tenant: TenantId, namespace: str) -> None:
    """Raises `NotFound` where nothing was ever kept in it."""
    if namespace not in await memories.read(reading.spaces, tenant, namespace):
        there = await memories.read(reading.spaces, tenant, "")
        raise NotFound(f"no namespace {namespace!r}; there are: {', '.join(there[:20]) or 'none'}")


async def page(
    kernel: Kernel,
    namespaces: Sequence[str],
    after: int,
    *,
    past: bool,
    vectors: bool = False,
    tenant: TenantId = DEFAULT_TENANT,
) -> tuple[list[Exported], int]:
    """Versions in the order of their writing, and where the next page begins (0: nowhere)."""
    memories = memories_of(kernel)
    model = model_of(kernel, memories, tenant) if vectors else ""
    now = kernel.clock.wall_ns()
    return await memories.read(
        memory_accounts.page, tenant, namespaces, after, past, model, EXPORT_PAGE, now
    )


async def stats(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT) -> MemoryStats:
    memories = memories_of(kernel)
    counted = await memories.read(memory_accounts.counted, tenant)
    return MemoryStats(
        current=counted.current,
        versions=counted.versions,
        namespaces=counted.namespaces,
        vectors=counted.vectors,
        model=model_of(kernel, memories, tenant),
        wanted=wanted_of(kernel, tenant),
        applied_seq=memories.projection.applied_seq,
        disk_bytes=counted.bytes,
        shelves=tuple(memories.dense.shelves()) if memories.dense is not None else (),
        recalls=await memories.evidence.read(memory_accounts.recalls, tenant),
        store=memories.store_name,
        note=memories.note,
    )
