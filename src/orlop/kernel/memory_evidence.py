"""What a memory was used for, and what an answer may rest on: recalls, in whoever's journal.

A recall is an event of the kernel that gave it.  Where kernels share their memories, the journals
of all are asked, also of those that are lost.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import CallTool, Infer
from orlop.abi.errors import NotFound
from orlop.abi.events import CallEntered, Header
from orlop.abi.ids import DEFAULT_TENANT, CallId, Seq, TenantId
from orlop.abi.memory import Evidence, Memory, MemoryId, MemoryRecalled
from orlop.abi.memory_orders import Use, Why
from orlop.kernel import memory_views
from orlop.kernel.sys_memory import memories_of
from orlop.memory import accounts as memory_accounts
from orlop.memory import reading
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.store.journal import Journal, Stored

USES_SHOWN: Final = 20
"""The newest recalls that gave a memory."""
THEN_EVENTS: Final = 500
"""Events after a recall in which the calls of its process are looked for."""
THEN_SHOWN: Final = 5
"""Of those calls."""
ELSEWHERE_READ: Final = 5_000
"""Recalls of each other kernel, from the newest back, in which a memory is looked for."""
BEFORE_READ: Final = 10_000
"""Events of a process before a call in which its recalls are looked for."""
RECALLED: Final = codec.KIND[MemoryRecalled]

Home = tuple[str, Journal]
"""A kernel's journal with its schema; empty: this one's."""


async def why(kernel: Kernel, name: str, tenant: TenantId = DEFAULT_TENANT) -> Why:
    """Of a memory: its life and the answers that used it.  Of a call: what it may rest on."""
    await kernel.journal.flush()
    if name.startswith("cal_"):
        return await _rested_on(kernel, tenant, CallId(name))
    versions = await memory_views.history(kernel, name, tenant)
    memories = memories_of(kernel)
    own = await memories.evidence.read(reading.uses, MemoryId(name), USES_SHOWN)
    uses = [await _followed(kernel.journal, use) for use in own]
    for schema, journal in await _elsewhere(kernel):
        uses += await _uses(schema, journal, tenant, MemoryId(name))
    uses = sorted(uses, key=lambda use: use.wall_ns)[-USES_SHOWN:]
    kernels = await _taught_elsewhere(kernel, versions)
    return Why(history=tuple(versions), uses=tuple(uses), kernels=kernels)


async def _elsewhere(kernel: Kernel) -> Sequence[Home]:
    return () if kernel.commons is None else await kernel.commons.journals.others()


async def _taught_elsewhere(kernel: Kernel, versions: Sequence[Memory]) -> dict[str, str]:
    if kernel.commons is None:
        return {}
    newest = versions[-USES_SHOWN:]
    places = await kernel.commons.journals.schemas_of([one.known_from for one in newest])
    return {one.call: places[one.known_from] for one in newest if one.known_from in places}


async def _uses(schema: str, journal: Journal, tenant: TenantId, memory: MemoryId) -> Sequence[Use]:
    """The newest recalls of another kernel that gave a memory."""
    found: list[Use] = []
    for stored in await journal.newest(RECALLED, ELSEWHERE_READ):
        header, event = stored.header, codec.decode(stored)
        if header.tenant != tenant or not isinstance(event, MemoryRecalled):
            continue
        given = next((one for one in event.given if one.memory == memory), None)
        if given is not None and len(found) < USES_SHOWN:
            use = Use(
                seq=header.seq,
                version=given.version,
                score=given.score,
                process=header.process,
                call=header.call or CallId(""),
                wall_ns=header.wall_ns,
                kernel=schema,
            )
            found.append(await _followed(journal, use))
    return found


async def _followed(journal: Journal, use: Use) -> Use:
    """With what the process did next: in that, what it had recalled may have been used."""
    then: list[str] = []
    for stored in await journal.read(Seq(use.seq + 1), limit=THEN_EVENTS):
        if stored.header.process != use.process:
            continue
        event = codec.decode(stored)
        if isinstance(event, MemoryRecalled) or len(then) == THEN_SHOWN:
            break
        if isinstance(event, CallEntered) and isinstance(event.body, Infer | CallTool):
            what = "infer" if isinstance(event.body, Infer) else f"call_tool {event.body.tool}"
            then.append(f"{what} {stored.header.call}")
    return replace(use, then=tuple(then))


async def _rested_on(kernel: Kernel, tenant: TenantId, call: CallId) -> Why:
    """What its process had recalled before it, newest first; also in homes that it had before."""
    homes: Sequence[Home] = (("", kernel.journal), *await _elsewhere(kernel))
    where, header = await _made(homes, tenant, call)
    recalls: list[Stored] = []
    after = max(0, header.process_seq - BEFORE_READ)
    for _, journal in homes:
        found = await journal.of_process(header.process, after, (RECALLED,))
        recalls += [one for one in found if one.header.process_seq < header.process_seq]
    given: list[Evidence] = []
    for stored in sorted(recalls, key=lambda one: one.header.process_seq, reverse=True):
        event = codec.decode(stored)
        if isinstance(event, MemoryRecalled) and len(given) < memory_accounts.GIVEN_MAX:
            given += sorted(event.given, key=lambda one: one.score, reverse=True)
    memories = memories_of(kernel)
    rows, _ = await memories.read(reading.versions, tenant, given[: memory_accounts.GIVEN_MAX])
    kernels = await _taught_elsewhere(kernel, rows)
    return Why(history=tuple(rows), uses=(), kernels={**kernels, call: where} if where else kernels)


async def _made(homes: Sequence[Home], tenant: TenantId, call: CallId) -> tuple[str, Header]:
    """Where a call was made, and its first event there.  Raises `NotFound`."""
    for schema, journal in homes:
        events = await journal.of_call(call)
        if events and events[0].header.tenant == tenant:
            return schema, events[0].header
    raise NotFound(f"no call {call[:100]!r} in the journal")
