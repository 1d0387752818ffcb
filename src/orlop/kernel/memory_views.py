"""What operators see of memories: a life, two moments, the evidence of an answer, the accounts."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import CallTool, Infer
from orlop.abi.errors import BadCall, NotFound
from orlop.abi.events import CallEntered
from orlop.abi.ids import DEFAULT_TENANT, CallId, Seq, TenantId
from orlop.abi.memory import Memory, MemoryId, MemoryRecalled
from orlop.abi.memory_orders import Difference, Exported, MemoryStats, Use, Why
from orlop.kernel.memory_vectors import model_of
from orlop.kernel.sys_memory import memories_of
from orlop.memory import accounts as memory_accounts
from orlop.memory import reading as reading
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.subsystems import memory_spaces

USES_SHOWN: Final = 20
THEN_EVENTS: Final = 500
"""Events after a recall in which the calls of its process are looked for."""
THEN_SHOWN: Final = 5
EXPORT_PAGE: Final = 1_000


async def history(kernel: Kernel, memory: str, tenant: TenantId = DEFAULT_TENANT) -> list[Memory]:
    """All versions, oldest first.  Raises `NotFound`."""
    memories = memories_of(kernel)
    found = await memories.read(reading.history, tenant, MemoryId(memory), kernel.clock.wall_ns())
    if not found:
        raise NotFound(f"no memory {memory[:100]!r}; `orlop memory recall` finds them")
    return found


async def why(kernel: Kernel, name: str, tenant: TenantId = DEFAULT_TENANT) -> Why:
    """Of a memory: its life and the answers that used it.  Of a call: what it may rest on."""
    if name.startswith("cal_"):
        return await _evidence(kernel, tenant, CallId(name))
    versions = await history(kernel, name, tenant)
    memories = memories_of(kernel)
    uses = await memories.evidence.read(reading.uses, MemoryId(name), USES_SHOWN)
    return Why(history=tuple(versions), uses=tuple([await _followed(kernel, use) for use in uses]))


async def diff(
    kernel: Kernel, namespace: str, before: Seq, after: Seq, tenant: TenantId = DEFAULT_TENANT
) -> list[Difference]:
    """What changed between two moments."""
    memory_spaces.check(namespace)
    if before > after:
        raise BadCall("before, after: in the order of the journal")
    memories = memories_of(kernel)
    return await memories.read(
        memory_accounts.differences, tenant, namespace, before, after, kernel.clock.wall_ns()
    )


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
        applied_seq=memories.projection.applied_seq,
        disk_bytes=counted.bytes,
        shelves=tuple(memories.dense.shelves()) if memories.dense is not None else (),
        recalls=await memories.evidence.read(memory_accounts.recalls, tenant),
        store=memories.store_name,
        note=memories.note,
    )


async def _followed(kernel: Kernel, use: Use) -> Use:
    """With what the process did next: in that, what it had recalled may have been used."""
    then: list[str] = []
    for stored in await kernel.journal.read(Seq(use.seq + 1), limit=THEN_EVENTS):
        if stored.header.process != use.process:
            continue
        event = codec.decode(stored)
        if isinstance(event, MemoryRecalled) or len(then) == THEN_SHOWN:
            break
        if isinstance(event, CallEntered) and isinstance(event.body, Infer | CallTool):
            what = "infer" if isinstance(event.body, Infer) else f"call_tool {event.body.tool}"
            then.append(f"{what} {stored.header.call}")
    return replace(use, then=tuple(then))


async def _evidence(kernel: Kernel, tenant: TenantId, call: CallId) -> Why:
    """What its process had recalled before it, newest first."""
    await kernel.journal.flush()
    events = await kernel.journal.of_call(call)
    if not events or events[0].header.tenant != tenant:
        raise NotFound(f"no call {call[:100]!r} in the journal")
    header = events[0].header
    memories = memories_of(kernel)
    given = await memories.evidence.read(
        reading.given_before, tenant, header.process, header.seq, memory_accounts.GIVEN_MAX
    )
    found, _ = await memories.read(reading.versions, tenant, given)
    return Why(history=tuple(found), uses=())
