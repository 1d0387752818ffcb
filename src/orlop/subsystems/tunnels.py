"""Connections that are not looked into: no call is made of them, so their rules are asked here."""

from orlop.abi.egress import Fetch
from orlop.abi.errors import Denied
from orlop.abi.ids import Digest
from orlop.access.rights import Narrowing
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import egress, policy


def require(
    kernel: Kernel, process: Process, host: str, port: int, narrowing: Narrowing | None
) -> None:
    """Return if the policy's rules for `net` let it through, asked as for `CONNECT`.

    Nobody can be asked about what nobody sees.  Raises `Denied`, which the journal then holds.
    """
    if process.row.mode == "replay":
        raise Denied(f"a replay asks nobody, and what went to {host}:{port} is in no record")
    shown = f"[{host}]" if ":" in host else host
    running = Running(
        id=kernel.new_call(),
        process=process.id,
        call=Fetch(method="CONNECT", url=f"https://{shown}:{port}/"),
        digest=Digest(b""),
        started_s=kernel.clock.now_s(),
        incarnation=process.row.incarnation,
        narrowing=narrowing,
    )
    try:
        policy.judge(kernel, process, running)
        if running.decision is not None and running.decision.verdict == "ask":
            raise Denied(f"{host}:{port}: a rule asks a person, and a tunnel shows nothing to him")
    except Denied as error:
        egress.refuse(kernel, process.id, host, port, error)
        raise
