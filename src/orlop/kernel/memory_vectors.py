"""Where vectors of memories come from: the caller, or a model through the door.

A tenant's memories are searched by the vectors of one model at a time; which one is in the journal.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from orlop.abi.calls import Embed
from orlop.abi.errors import BadCall, KernelError
from orlop.abi.hints import Hints
from orlop.abi.ids import KERNEL_PROCESS, TenantId
from orlop.abi.memory import Item, MemoryModelChosen
from orlop.kernel import nested
from orlop.memory.memories import Memories
from orlop.memory.vectors import dimensions, packed
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running

log = logging.getLogger(__name__)


class Vectors(NamedTuple):
    """`data` has one vector a text, empty where there is none; `note` says why."""

    model: str
    data: list[bytes]
    note: str = ""


def model_of(kernel: Kernel, memories: Memories, tenant: TenantId) -> str:
    """Whose vectors are searched, or would be; empty: no model that embeds is here."""
    chosen = kernel.tables.memory.models.get(tenant)
    if chosen is not None:
        return chosen.model
    if memories.config.embed_model:
        return memories.config.embed_model
    cards = [card for card in kernel.registry.cards() if card.kind == "embed" and not card.paid]
    return min((card.name for card in cards), default="")


def wanted_of(kernel: Kernel, tenant: TenantId) -> str:
    """Whose vectors shall be searched once all have one; empty: no others."""
    chosen = kernel.tables.memory.models.get(tenant)
    return chosen.wanted if chosen is not None else ""


async def of_items(
    kernel: Kernel,
    memories: Memories,
    process: Process,
    running: Running,
    items: Sequence[Item],
    *,
    embed: bool,
) -> Vectors:
    """One vector an item.  Raises `BadCall` for one of the wrong model or size."""
    tenant = process.row.tenant
    given = {item.vector_model for item in items if item.vector}
    model = model_of(kernel, memories, tenant)
    if given:
        if tenant not in kernel.tables.memory.models:
            model = min(given)
        if given != {model}:
            raise BadCall(
                f"vector_model: memories are searched by {model!r} here, not by"
                f" {', '.join(sorted(given - {model}))}"
            )
    data = [packed(item.vector) if item.vector else b"" for item in items]
    for vector in data:
        if vector:
            require_size(memories, model, vector)
    missing = [number for number, vector in enumerate(data) if not vector]
    if not missing or not embed:
        return Vectors(model, data)
    texts = [items[number].text for number in missing]
    made = await of_texts(kernel, memories, process, running, texts, model)
    for number, vector in zip(missing, made.data, strict=True):
        data[number] = vector
    return Vectors(model, data, made.note)


async def of_texts(
    kernel: Kernel,
    memories: Memories,
    process: Process,
    running: Running,
    texts: Sequence[str],
    model: str,
) -> Vectors:
    """By `model`, or none: whoever remembers must not lose a memory because an engine is away."""
    nothing = [b""] * len(texts)
    if memories.dense is None:
        return Vectors("", nothing, "no library for vectors is installed: pip install numpy")
    if not model:
        return Vectors("", nothing, "no model here embeds: `orlop pull minilm`")
    call = Embed(
        model=model, inputs=tuple(texts), hints=Hints(deadline_s=running.call.hints.deadline_s)
    )
    try:
        done = await nested.embed(kernel, process, running, call)
        data = [packed(vector) for vector in done.vectors]
        for vector in data:
            require_size(memories, model, vector)
    except KernelError as error:
        log.warning("memories are not embedded: %s", error.message)
        return Vectors(model, nothing, f"not embedded by {model}: {error.message}")
    if len(data) != len(texts):
        return Vectors(model, nothing, f"not embedded: {model} gave {len(data)} vectors")
    return Vectors(model, data)


def require_size(memories: Memories, model: str, vector: bytes) -> None:
    """Raises `BadCall` where the model's vectors are of another size."""
    known = memories.dimensions_of(model)
    if known and known != dimensions(vector):
        raise BadCall(f"vector: {model} gives {known} numbers here, not {dimensions(vector)}")
    if not known:
        memories.sizes[model] = dimensions(vector)


def choose(kernel: Kernel, tenant: TenantId, model: str) -> None:
    """The first vectors of a tenant settle by whose its memories are searched."""
    if model and tenant not in kernel.tables.memory.models:
        kernel.emit(KERNEL_PROCESS, tenant, MemoryModelChosen(model=model))
