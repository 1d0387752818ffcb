"""Erasure: a subject's memories leave the journal, the rows and RAM; the chain still verifies.

First the event that says so (with what the struck events held of others), then the bodies.  A
kernel that is lost in between strikes them out at its next boot.
"""

import logging
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from orlop.abi.errors import BadCall, NotFound
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, TenantId
from orlop.abi.memory import MemoryErased
from orlop.abi.memory_orders import Certificate, EraseOrder
from orlop.kernel.sys_memory import memories_of
from orlop.memory import erasing as memory_erasing
from orlop.memory import reading
from orlop.state.core import Kernel
from orlop.wire.canonical import canonical

log = logging.getLogger(__name__)


async def erase(
    kernel: Kernel, order: EraseOrder, tenant: TenantId = DEFAULT_TENANT
) -> Certificate:
    """Raises `NotFound` where nothing is known of the subject."""
    if not order.subject.strip():
        raise BadCall("subject: one of its identifiers, as in `mail:ann@example.com`")
    memories = memories_of(kernel)
    await kernel.journal.flush()
    names = await memories.read(reading.everybody, tenant, order.subject, None)
    found = await memories.read(memory_erasing.doomed, tenant, names)
    if not found.struck:
        raise NotFound(f"nothing is known of {order.subject[:200]!r}")
    await memories.ready()
    digest = subject_digest(kernel.journal.id, names)
    header = kernel.emit(
        KERNEL_PROCESS,
        tenant,
        MemoryErased(
            subject_digest=digest,
            versions=found.versions,
            struck=found.struck,
            kept=found.kept,
            links=found.links,
            vectors=found.vectors,
            reason=order.reason,
        ),
    )
    await kernel.strike(found.struck)
    await memories.purge()
    certificate = Certificate(
        journal=kernel.journal.id,
        seq=header.seq,
        subject_digest=digest,
        versions=found.versions,
        struck=found.struck,
        wall_ns=header.wall_ns,
        signature="",
    )
    said = {**msgspec.to_builtins(certificate)}
    del said["signature"]
    return replace(certificate, signature=kernel.journal.sign(canonical(said)).hex())


def subject_digest(journal: str, identifiers: tuple[str, ...]) -> str:
    """Whoever knows the identifiers can find it again; nobody can read them in it."""
    return sha256("\n".join((journal, *sorted(identifiers))).encode()).hexdigest()


async def finish(kernel: Kernel) -> None:
    """At boot: what an earlier kernel had said to be struck out is struck out."""
    memories = memories_of(kernel)
    struck = await memories.read(memory_erasing.struck_out)
    if struck and (left := await kernel.strike(struck)):
        log.warning("%d bodies of erased memories were still there; they are gone now", left)
