"""The `remember`, `recall` and `forget` system calls."""

from collections.abc import Sequence
from functools import lru_cache, partial

import msgspec
from msgspec.structs import replace

from orlop.abi.errors import BadCall, NotFound, NotReady
from orlop.abi.hints import Facts
from orlop.abi.ids import Seq
from orlop.abi.memory import (
    Forget,
    Forgotten,
    Item,
    MemoryRecalled,
    Recall,
    Recalled,
    Remember,
    Remembered,
    Target,
)
from orlop.kernel import memory_ranking, memory_vectors
from orlop.memory.memories import Memories
from orlop.memory.search import Asked
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import memory_content, tainted
from orlop.subsystems import memory_spaces as spaces
from orlop.subsystems.memory_plan import Plan, held
from orlop.tools.schema import Schema


def memories_of(kernel: Kernel) -> Memories:
    """Raises `NotReady`."""
    if kernel.memories is None:
        raise NotReady("this kernel keeps no memories", retry_after_s=60.0)
    return kernel.memories


def require_past(memories: Memories, **moments: Seq | None) -> None:
    """Raises `BadCall` for an event that is still to come: what it will tell, nobody knows."""
    newest = memories.projection.source.head_seq
    for field, seq in moments.items():
        if seq is not None and not 0 <= seq <= newest:
            raise BadCall(f"{field}: from 0 to {newest}, the newest event; not {seq}")


async def remember(
    kernel: Kernel, process: Process, running: Running, call: Remember
) -> Remembered:
    """All items or none.  Between the check of the versions and the event nothing is waited for."""
    memories = memories_of(kernel)
    namespace = spaces.own(process, call.namespace)
    spaces.require(kernel, process, running, namespace, "write")
    shapes = [shape_of(kernel, process, item) for item in call.items]
    await memories.ready()
    found = await memory_vectors.of_items(
        kernel, memories, process, running, call.items, embed=call.embed
    )
    await memories.ready()
    labels = tainted.kept(running)
    plan = Plan(kernel, memories, process.row.tenant, process.id, namespace, labels)
    for item, vector, shape in zip(call.items, found.data, shapes, strict=True):
        plan.item(item, vector, shape, running.call.hints.subject)
    for target in call.forget:
        plan.forget(target)
    # From here on only the journal can fail.
    is_embedded = any(found.data)
    if is_embedded:
        memory_vectors.choose(kernel, process.row.tenant, found.model)
    links = tuple(item.subjects for item in call.items if item.subjects)
    plan.write(running.id, found.model if is_embedded else "", links)
    return Remembered(
        written=tuple(plan.written),
        namespace=namespace,
        embedded_by=found.model if is_embedded else "",
        note=found.note,
        facts=Facts(call=running.id),
    )


async def forget(kernel: Kernel, process: Process, running: Running, call: Forget) -> Forgotten:
    """All or none."""
    memories = memories_of(kernel)
    namespace = spaces.own(process, call.namespace)
    await memories.ready()
    targets = list(call.targets)
    for key in call.keys:
        memory = memories.with_key(process.row.tenant, namespace, key)
        if memory is None:
            raise NotFound(f"no memory has the key {key!r} in {namespace}")
        targets.append(Target(memory))
    plans: dict[str, Plan] = {}
    for target in targets:
        place = held(memories, process.row.tenant, target.memory)
        spaces.require(kernel, process, running, place.namespace, "write")
        plan = plans.setdefault(
            place.namespace, Plan(kernel, memories, process.row.tenant, process.id, place.namespace)
        )
        plan.forget(target)
    # From here on only the journal can fail.
    for plan in plans.values():
        plan.write(running.id)
    written = [one for plan in plans.values() for one in plan.written]
    return Forgotten(forgotten=tuple(written), facts=Facts(call=running.id))


async def recall(kernel: Kernel, process: Process, running: Running, call: Recall) -> Recalled:
    """What fits best, of what the caller may read; the journal keeps what was given."""
    memories = memories_of(kernel)
    await memories.current()
    require_past(memories, as_of=call.as_of)
    tenant = process.row.tenant
    meant = namespaces_of(kernel, memories, process, running, call)
    if not call.subject and running.call.hints.subject and not (call.memory or call.key):
        call = replace(call, subject=running.call.hints.subject)
    model, vector, note = await query_vector(kernel, memories, process, running, call)
    ranker = memory_ranking.model_for(memories, call)
    found = await memories.find(
        Asked(
            call=memory_ranking.widened(call) if ranker else call,
            tenant=tenant,
            namespaces=meant,
            now_ns=kernel.clock.wall_ns(),
            model=model,
            vector=vector,
        )
    )
    given = found.memories
    if ranker:
        given, problem = await memory_ranking.ranked(
            kernel, memories, process, running, call, ranker, given
        )
        note = "; ".join(filter(None, (note, problem)))
    if given:
        evidence = tuple(memory_content.evidence(one) for one in given)
        kernel.emit(process.id, tenant, MemoryRecalled(given=evidence), call=running.id)
    return Recalled(
        memories=given,
        stale=found.stale,
        searched=found.searched,
        known_seq=found.known_seq,
        tier=tier(meant, from_ram=found.from_ram),
        note="; ".join(filter(None, (note, found.note))),
        facts=Facts(call=running.id),
    )


def namespaces_of(
    kernel: Kernel, memories: Memories, process: Process, running: Running, call: Recall
) -> tuple[str, ...]:
    """Where it may be found.  Raises `Denied`, `NotFound`."""
    tenant = process.row.tenant
    for target in call.holding:
        known = memories.place(target.memory)
        if known is not None and known.tenant == tenant:
            spaces.require(kernel, process, running, known.namespace, "read")
    if call.memory:
        place = held(memories, tenant, call.memory)
        spaces.require(kernel, process, running, place.namespace, "read")
        return (place.namespace,)
    below = partial(memories.spaces, tenant)
    return spaces.readable(kernel, process, running, call.namespaces, below)


async def query_vector(
    kernel: Kernel, memories: Memories, process: Process, running: Running, call: Recall
) -> tuple[str, bytes, str]:
    """The model, the query's vector by it (empty: none), and why there is none."""
    if call.mode not in ("fused", "dense") or not (call.query or call.vector):
        return "", b"", ""
    if call.vector:
        item = Item(text=call.query or "?", vector=call.vector, vector_model=call.vector_model)
        model, data, note = await memory_vectors.of_items(
            kernel, memories, process, running, (item,), embed=False
        )
        return model, data[0], note
    chosen = kernel.tables.memory.models.get(process.row.tenant)
    if chosen is None or not chosen.model:
        return "", b"", "searched by words alone: no memory has been embedded yet"
    model, data, note = await memory_vectors.of_texts(
        kernel, memories, process, running, (call.query,), chosen.model
    )
    return model, data[0], f"searched by words alone: {note}" if note else ""


def tier(namespaces: Sequence[str], *, from_ram: bool) -> str:
    """Which of the memories answered."""
    session = bool(namespaces) and all(spaces.is_session(name) for name in namespaces)
    return f"{'session' if session else 'long-term'}, {'RAM' if from_ram else 'disk'}"


def shape_of(kernel: Kernel, process: Process, item: Item) -> int:
    """The version of the schema that the item's attributes meet; 0: its kind has none."""
    kind = kernel.tables.memory.kinds.get((process.row.tenant, item.kind))
    if kind is None:
        return 0
    if wrong := _schema(msgspec.json.encode(kind.schema)).wrong(item.attributes):
        raise BadCall(f"attributes of a {item.kind} (schema {kind.version}): {wrong}")
    return kind.version


@lru_cache(maxsize=256)
def _schema(text: bytes) -> Schema:
    return Schema(msgspec.json.decode(text, type=dict[str, object]))
