"""What a recall gave, as the journal keeps it: versions by name, since their rows never change."""

from msgspec.structs import replace

from orlop.abi.errors import NotReady
from orlop.abi.ids import Seq, TenantId
from orlop.abi.memory import Evidence, Memory, Recalled
from orlop.memory import reading
from orlop.state.core import Kernel


def bare(done: Recalled) -> Recalled:
    """Without the texts."""
    given = tuple(evidence(one) for one in done.memories)
    stale = tuple(Evidence(one.memory, one.version) for one in done.stale)
    return replace(done, memories=(), stale=(), given=given, gone=stale)


def evidence(memory: Memory) -> Evidence:
    return Evidence(memory.memory, memory.version, memory.score, memory.found_by)


async def filled(kernel: Kernel, tenant: TenantId, done: Recalled) -> Recalled:
    """As it was given.  What was erased since is named in `gone`."""
    if kernel.memories is None:
        raise NotReady("this kernel keeps no memories", retry_after_s=60.0)
    read = kernel.memories.read
    given, gone = await read(reading.versions, tenant, done.given)
    stale, lost = await read(reading.versions, tenant, done.gone)
    return replace(
        done,
        memories=tuple(as_known(one, done.known_seq) for one in given),
        stale=tuple(as_known(one, done.known_seq) for one in stale),
        given=(),
        gone=(*gone, *lost),
    )


def as_known(memory: Memory, seq: Seq) -> Memory:
    """What closed it later was not known then."""
    if memory.known_to is None or memory.known_to <= seq:
        return memory
    return replace(memory, known_to=None, closed="", state="current")
