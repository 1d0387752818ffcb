"""Events as a journal has them, for tests of what is folded from it."""

from orlop.abi.calls import Budget
from orlop.abi.events import Header
from orlop.abi.ids import CallId, Nanoseconds, Pid, ProcessId, Seq
from orlop.abi.processes import ProcessSpawned


def spawned(pid: int = 2, name: str = "agent") -> ProcessSpawned:
    """A process with nothing special about it."""
    return ProcessSpawned(
        pid=Pid(pid),
        name=name,
        parent=None,
        command=("agent",),
        cwd="",
        env={},
        latency_class="standard",
        budget=Budget(),
        restart="never",
        on_divergence="stop",
        program="",
        version="",
    )


def header(
    number: int,
    process: ProcessId,
    *,
    call: str = "",
    digest: bytes | None = None,
    now_ns: int | None = None,
) -> Header:
    """Of event `number`, which is its time too where none is given."""
    at_ns = Nanoseconds(number if now_ns is None else now_ns)
    return Header(
        seq=Seq(number),
        process=process,
        process_seq=number,
        kind="",
        call=CallId(call) if call else None,
        wall_ns=at_ns,
        mono_ns=at_ns,
        epoch=1,
        args_digest=digest,
        body_digest=b"",
    )
