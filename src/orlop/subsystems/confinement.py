"""Which sandbox a process gets: what was asked for, never wider than its parent's."""

from orlop.abi.calls import Spawn
from orlop.abi.egress import read_rules
from orlop.abi.errors import Denied, NotReady
from orlop.abi.ids import TenantId
from orlop.abi.sandbox import Sandbox
from orlop.sandbox.cells import narrowed, with_runtime
from orlop.state.core import Kernel
from orlop.state.process import Process


async def sandbox_of(
    kernel: Kernel, parent: Process | None, call: Spawn, tenant: TenantId
) -> Sandbox | None:
    """Raises `BadCall` for a rule of the network that is none, `Denied` for more than the parent
    has, or the tenant; `NotReady` where none can be kept here."""
    held = parent.row.sandbox if parent is not None else None
    if held is None:
        held = kernel.tables.tenants.rows[tenant].sandbox
    wanted = call.sandbox
    if wanted is None and held is None and call.command and kernel.cells is not None:
        wanted = kernel.cells.default
    if wanted is not None:
        read_rules(wanted.net)
    try:
        sandbox = narrowed(held, wanted)
    except ValueError as field:
        raise Denied(
            f"sandbox.{field}: more than the sandbox holds that it would be started in"
        ) from None
    if sandbox is not None and call.command:
        if kernel.cells is None:
            raise NotReady("this kernel has no sandbox")
        await kernel.cells.require(sandbox)
        if held is None:  # Who is in a sandbox names commands of his sandbox, and gets no more.
            sandbox = with_runtime(sandbox, call.command, call.env)
    return sandbox
