"""Who may reach which host, and what that comes to: rules, then rights; admission of a `fetch`."""

from collections.abc import Sequence

from orlop.abi.cards import Effect
from orlop.abi.egress import EgressRefused, Fetch, NetRule, read_rules
from orlop.abi.errors import Denied, EffectUnknown, KernelError
from orlop.abi.ids import DEFAULT_TENANT, ProcessId
from orlop.access.rights import Narrowing
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.refusals import Refusals
from orlop.state.web import place
from orlop.subsystems import rights


def rules(kernel: Kernel, process: Process) -> Sequence[NetRule]:
    """Its own, then everybody's."""
    own = process.row.sandbox.net if process.row.sandbox is not None else ()
    return (*read_rules(own), *kernel.egress)


def require(
    kernel: Kernel,
    process: Process,
    host: str,
    port: int,
    narrowing: Narrowing | None = None,
) -> NetRule:
    """The rule that lets it out there.  Raises `Denied`, which the journal then holds."""
    rule = next((rule for rule in rules(kernel, process) if rule.fits(host, port)), None)
    try:
        if rule is None:
            raise Denied(
                f"{host}:{port} is no host that process {process.row.pid} may reach; "
                f"`orlop run --sandbox --net {host}`, or [egress] allow in orlop.toml"
            )
        rights.require(process, "net", f"{host}:{port}", narrowing=narrowing)
    except Denied as error:
        refuse(kernel, process.id, host, port, error)
        raise
    return rule


def refuse(
    kernel: Kernel, process: ProcessId, host: str, port: int, error: KernelError, who: str = ""
) -> None:
    """Journal it: at most so many a minute of one process; the next one tells of the others."""
    counted = kernel.egress_refusals.setdefault(process, Refusals())
    is_writable = kernel.journal.stopped is None
    if not counted.tell(kernel.clock.wall_ns(), is_writable=is_writable):
        return
    times, counted.untold = 1 + counted.untold, 0
    row = kernel.tables.rows.get(process)
    tenant = row.tenant if row is not None else DEFAULT_TENANT
    event = EgressRefused(host=host, port=port, reason=error.message[:500], times=times, who=who)
    kernel.emit(process, tenant, event)


def named(
    kernel: Kernel, process: Process, digest: bytes, call_id: str, call: Fetch
) -> tuple[Effect, str]:
    """What a second sending would do, and the effect's name: that of the call that was cut off, or
    its own; none where there is no effect.

    Raises `Denied`, and `EffectUnknown` where nobody knows whether what must not happen twice did.
    """
    _, host, port = place(call.url)
    effect = require(kernel, process, host, port).effect(call.method)
    unknown = kernel.tables.calls.unknown.get((process.id, digest))
    if unknown and effect == "irreversible":
        raise EffectUnknown(
            f"{call.method} {call.url} was sent before and cut off, and a second sending may act "
            f"twice: look whether it happened, then `orlop effects settle {unknown[0].call}`"
        )
    if unknown:
        return effect, unknown[0].effect
    return effect, "" if effect == "pure" else call_id
