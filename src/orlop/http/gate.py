"""The folder that sandboxes see of the home: the proxy's socket, and the certificates to trust."""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from orlop.abi.egress import NetRule, read_rules
from orlop.abi.errors import BadCall, Misconfigured
from orlop.abi.sandbox import Sandbox
from orlop.effects.lifeline import Seal
from orlop.effects.outside import Outside
from orlop.http.auth import Doorman
from orlop.http.authority import Authority
from orlop.http.proxy import Pass, Proxy
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.sandbox.cells import NO_NETWORK, Cells
from orlop.state.core import Kernel
from orlop.store import files

FOLDER: Final = "gate"
SOCKET: Final = "egress.sock"
"""As `sandbox.cell` names it, and `TRUST` likewise."""

TRUST: Final = "trust.pem"

SOCKET_PATH_MAX: Final = 100
"""Bytes; the operating system allows 107."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressConfig:
    """The `[egress]` table of orlop.toml."""

    allow: tuple[str, ...] = ()
    """Hosts that every process may reach by `fetch` and the proxy, as in `["api.example.com",
    "*.example.org:443=idempotent"]`; what `orlop run --net` names comes on top."""
    airgap: bool = False
    """As `orlop up --airgap`: the kernel reaches what orlop.toml names and nothing else, and every
    program and tool is cut off the network, but for what its own rules name."""
    certificates: str = ""
    """A file of authorities that servers outside may be signed by, beside the system's own."""

    def rules(self) -> tuple[NetRule, ...]:
        """Raises `Misconfigured`."""
        try:
            return read_rules(self.allow)
        except BadCall as error:
            raise Misconfigured(f"[egress] allow: {error.message}") from error


def folder_of(home: Path) -> Path:
    """In the home; elsewhere, by the home's name, where the path of a socket there is too long."""
    folder = home / FOLDER
    if len(os.fsencode(folder / SOCKET)) <= SOCKET_PATH_MAX:
        return folder
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/orlop-{os.getuid()}")
    files.private_folder(runtime)
    return runtime / f"gate-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


class Gate:
    """Raises `Misconfigured` where the home's certificate can't be used."""

    def __init__(self, home: Path, config: EgressConfig, clock: Clock, chance: Chance) -> None:
        self.folder = folder_of(home)
        self.rules = config.rules()
        self.web = Outside(config.certificates)
        self._chance = chance
        self._authority = Authority(home / "keys", clock)
        self._passes: dict[str, Pass] = {}
        files.private_folder(self.folder)
        (self.folder / TRUST).write_bytes(self._authority.trust())

    def admit(self, who: str, net: tuple[str, ...]) -> str:
        """A pass for a tool or a server of tools, good as long as this kernel lives.

        Raises `Misconfigured`.
        """
        try:
            rules = list(read_rules(net))
        except BadCall as error:
            raise Misconfigured(f"{who}: {error.message}") from error
        token = self._chance.token(24).hex()
        self._passes[token] = Pass(who, rules)
        return token

    def sealer(self, cells: Cells, who: str, wanted: Sandbox | None) -> Seal | None:
        """What starts a tool (or a server of tools) in its sandbox; None: it has none.

        Raises `Misconfigured`.
        """
        if wanted is None and cells.is_airgapped:
            wanted = NO_NETWORK
        if wanted is None:
            return None
        return partial(cells.tool, wanted, self.admit(who, wanted.net))

    async def run(self, kernel: Kernel, doorman: Doorman) -> None:
        """Until cancelled."""
        proxy = Proxy(kernel, doorman, self._authority, self.web, self._passes)
        try:
            await proxy.run(self.folder / SOCKET)
        finally:
            await self.web.close()
