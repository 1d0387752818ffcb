"""What is done for memories in the background, in the name of a batch-class process of its own:
vectors that are missing, a change of the model, graphs for large namespaces.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from orlop.abi.calls import Embed, Spawn
from orlop.abi.errors import Conflict, JournalStopped, KernelError
from orlop.abi.hints import Hints
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, Seq, TenantId
from orlop.abi.memory import MemoryEmbedded, MemoryModelChosen
from orlop.kernel import memory_erasure, memory_orders, memory_vectors, nested
from orlop.kernel.sys_memory import memories_of
from orlop.machine.offload import Offload
from orlop.memory import accounts as memory_accounts
from orlop.memory.memories import Memories
from orlop.memory.vectors import packed
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import ALIVE
from orlop.subsystems import forms, lifecycle

log = logging.getLogger(__name__)

NAME: Final = "memory"
BATCH: Final = 32
"""Texts in one call of a model."""
LOOK_S: Final = 5.0
"""Between two looks at what is missing."""
AWAY_S: Final = 60.0
"""After a model could not be asked."""


async def run(kernel: Kernel, graphs: Offload) -> None:
    """Until cancelled."""
    memories = memories_of(kernel)
    with suppress(KernelError):
        await memories.projection.current()
        await memory_erasure.finish(kernel)
    try:
        while True:
            await kernel.clock.sleep(LOOK_S)
            await look(kernel, memories, graphs)
    finally:
        if memories.external is not None:
            memories.external.close()


async def look(kernel: Kernel, memories: Memories, graphs: Offload) -> None:
    """Do what there is to be done now."""
    try:
        await build_graphs(memories, graphs)
        if (external := memories.external) is not None:
            await graphs(external.feed, await memories.read(external.next_feed()))
        for tenant in tuple(kernel.tables.memory.models):
            await fill(kernel, memories, tenant)
    except JournalStopped:
        raise
    except KernelError as error:
        log.info("memories are not embedded for now: %s", error.message)
        await kernel.clock.sleep(AWAY_S)


async def reembed(kernel: Kernel, model: str, tenant: TenantId = DEFAULT_TENANT) -> None:
    """Begin: from the moment that every memory has a vector by `model`, it is searched by those.

    The vectors of before stay: where all have one already, it is at once.  Raises `NotFound`.
    """
    memories = memories_of(kernel)
    forms.find(kernel, model, "embed", Hints())
    before = memory_vectors.model_of(kernel, memories, tenant)
    is_missing = await memories.read(memory_accounts.unembedded, tenant, model, 1)
    if is_missing:
        await choose(kernel, tenant, MemoryModelChosen(model=before, wanted=model))
    else:
        await cut_over(kernel, memories, tenant, model)


async def cut_over(kernel: Kernel, memories: Memories, tenant: TenantId, model: str) -> None:
    """What came meanwhile is embedded at the next look."""
    before = memory_vectors.model_of(kernel, memories, tenant)
    await choose(kernel, tenant, MemoryModelChosen(model=model, before=before))
    memories.full_at.pop(tenant, None)
    if before != model:
        log.info("memories are searched by %s now, and not by %s", model, before)


async def choose(kernel: Kernel, tenant: TenantId, event: MemoryModelChosen) -> None:
    await memory_orders.alone(kernel)
    await kernel.journal.durable(kernel.emit(KERNEL_PROCESS, tenant, event).seq)


async def fill(kernel: Kernel, memories: Memories, tenant: TenantId) -> None:
    """Embed what has no vector by the model that is searched, then by the one that shall be."""
    if memories.dense is None:
        return
    model = memory_vectors.model_of(kernel, memories, tenant)
    if model and memories.full_at.get(tenant) != memories.projection.applied_seq:
        memories.full_at[tenant] = await embed_all(kernel, memories, tenant, model)
    if model := memory_vectors.wanted_of(kernel, tenant):
        await embed_all(kernel, memories, tenant, model)
        if memory_vectors.wanted_of(kernel, tenant) == model:
            await cut_over(kernel, memories, tenant, model)


async def embed_all(kernel: Kernel, memories: Memories, tenant: TenantId, model: str) -> Seq:
    """Until none is missing: as of which event."""
    applied = memories.projection.applied_seq
    while missing := await memories.read(memory_accounts.unembedded, tenant, model, BATCH):
        await embed(kernel, memories, tenant, model, missing)
        applied = memories.projection.applied_seq
    return applied


async def embed(
    kernel: Kernel,
    memories: Memories,
    tenant: TenantId,
    model: str,
    missing: Sequence[memory_accounts.Unembedded],
) -> None:
    """One batch.  Raises what the model's engine says."""
    process = await worker(kernel, tenant)
    call = Embed(model=model, inputs=tuple(one.text for one in missing))
    done = await nested.embed(kernel, process, None, call)
    data = [packed(vector) for vector in done.vectors]
    for vector in data:
        memory_vectors.require_size(memories, model, vector)
    event = MemoryEmbedded(
        model=model,
        vectors=tuple(
            (one.memory, one.version, vector) for one, vector in zip(missing, data, strict=True)
        ),
    )
    await memories.ready()
    seq = kernel.emit(process.id, tenant, event).seq
    await kernel.journal.durable(seq)
    await memories.projection.current()


async def worker(kernel: Kernel, tenant: TenantId) -> Process:
    """The process that this is done and accounted for."""
    found = kernel.clients.find(tenant, None, NAME, NAME)
    if found is None or found.row.state not in ALIVE:
        spawn = Spawn(command=(), name=NAME, program=NAME, latency_class="batch")
        found = await lifecycle.create(kernel, spawn, tenant)
        with suppress(Conflict):
            await lifecycle.start(kernel, found, "first")
    return found


async def build_graphs(memories: Memories, graphs: Offload) -> None:
    """For blocks that are large enough; each until its block is read anew."""
    dense = memories.dense
    if dense is None:
        return
    for wanted in dense.take_wanted():
        try:
            await graphs(wanted)
        except ImportError as error:
            log.info("no graphs are built: %s (pip install 'orlop[vectors]')", error)
            dense.no_graphs()
