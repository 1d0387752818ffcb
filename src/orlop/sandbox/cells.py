"""All cells of one kernel: which tier they have, and each command as it is started in one."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from msgspec.structs import replace

from orlop.abi.errors import Misconfigured, NotReady
from orlop.abi.sandbox import Sandbox, TierFound, WantedTier
from orlop.machine.offload import Offload
from orlop.sandbox import cell, cgroups, tiers
from orlop.sandbox.cell import Doors, Sealed
from orlop.sandbox.cgroups import Groups
from orlop.sandbox.ground import runtime
from orlop.sandbox.plan import Tier

USER = "orlop"
"""The name before the token, in what a program shows to the proxy."""


NO_NETWORK = Sandbox(files="all")
"""Of what asks for no sandbox, where the kernel is airgapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """The `[sandbox]` table of orlop.toml."""

    tier: WantedTier = "best"
    """`bwrap` or `landlock`: the kernel does not start where that tier (or a stronger one) does not
    work; `best`: whatever works, and what needs one is refused where nothing does."""
    default: Sandbox | None = None
    """Of programs that ask for none, as in `default = { write = ["/work"] }`."""


def check_config(config: SandboxConfig, asked: Mapping[str, Sandbox | None], home: Path) -> None:
    """Whether what is configured can be kept here; tried only where something is.

    asked: sandboxes by the table that names them.  Raises `Misconfigured`.
    """
    named = {where: wanted for where, wanted in asked.items() if wanted is not None}
    for where, wanted in named.items():
        for path in (*wanted.read, *wanted.write):
            if not os.path.isabs(path):
                raise Misconfigured(f"[{where}] sandbox: {path!r} should be a whole path")
    if config.default is not None:
        named["sandbox"] = config.default
    if not named and config.tier == "best":
        return
    try:
        tier = tiers.require(config.tier)
        for wanted in named.values():
            cell.check(wanted, tier, home)
        if any(wanted.ram_bytes is not None for wanted in named.values()):
            cgroups.find().require()
    except NotReady as reason:
        asking = ", ".join(f"[{where}]" for where in named) or f"[sandbox] tier = {config.tier}"
        raise Misconfigured(f"{asking}: {reason.message}") from reason


class Confined(Protocol):
    """What is asked of a program."""

    @property
    def cwd(self) -> str: ...
    @property
    def sandbox(self) -> Sandbox | None: ...


class Cells:
    """default: of programs that ask for no sandbox by themselves."""

    def __init__(
        self, doors: Doors, config: SandboxConfig, offload: Offload, *, airgap: bool = False
    ) -> None:
        self.doors = doors
        self.is_airgapped = airgap
        self.default = config.default or (NO_NETWORK if airgap else None)
        self.tier: Tier | None = None
        self.found: Sequence[TierFound] = ()
        self.groups: cgroups.Found | None = None
        """Control groups; None: nobody has asked for any yet."""
        self._wanted: WantedTier = config.tier
        self._offload = offload
        self._learning = asyncio.Lock()

    async def learn(self) -> Sequence[TierFound]:
        """Try what this machine has, once."""
        async with self._learning:
            if not self.found:
                self.tier, self.found = await self._offload(tiers.find, self._wanted)
        return self.found

    async def learn_groups(self) -> None:
        """Try whether whole sandboxes can be limited, once."""
        async with self._learning:
            if self.groups is None:
                self.groups = await self._offload(cgroups.find)

    def _groups(self) -> Groups:
        """Raises `NotReady`."""
        if self.groups is None:  # A program of an earlier boot, started again.
            self.groups = cgroups.find()
        return self.groups.require()

    async def require(self, wanted: Sandbox | None) -> None:
        """Raises `NotReady` where what is wanted can't be kept here."""
        if wanted is None:
            return
        await self.learn()
        cell.check(wanted, self._tier(), self.doors.home)
        if wanted.ram_bytes is not None:
            await self.learn_groups()
            self._groups()

    def _tier(self) -> Tier:
        """Raises `NotReady`."""
        if self.tier is None:
            tried = "; ".join(f"{one.tier}: {one.reason}" for one in self.found) or "not tried yet"
            raise NotReady(f"no sandbox works here ({tried})")
        return self.tier

    def program(
        self, program: Confined, command: Sequence[str], env: Mapping[str, str]
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        """A program of a process: its own token is what the proxy knows it by."""
        assert program.sandbox is not None
        token = env["ORLOP_TOKEN"]
        sealed = self.seal(program.sandbox, command, env, program.cwd, token=token)
        return sealed.command, sealed.env

    async def tool(
        self, wanted: Sandbox, token: str, command: Sequence[str], env: Mapping[str, str], cwd: str
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        """A tool or a server of tools: it sees nothing of the kernel but its proxy.

        Raises `NotReady`.
        """
        await self.require(wanted)
        wanted = with_runtime(wanted, command, env)
        doors = Doors(home=self.doors.home, gate=self.doors.gate)
        sealed = self.seal(wanted, command, env, cwd, token=token, doors=doors)
        return sealed.command, sealed.env

    def seal(
        self,
        wanted: Sandbox,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        token: str,
        doors: Doors | None = None,
    ) -> Sealed:
        """`command` in a cell.  token: what the kernel's proxy knows it by.

        doors: what it sees of the kernel; None: all that a program does.  Raises `NotReady`.
        """
        sealed = cell.seal(
            wanted,
            self._tier(),
            doors or self.doors,
            command,
            env,
            cwd,
            credential=f"{USER}:{quote(token, safe='')}",
        )
        if wanted.ram_bytes is None:
            return sealed
        entered = self._groups().entered(wanted.ram_bytes, wanted.processes, sealed.command)
        return Sealed(command=entered, env=sealed.env)


def with_runtime(wanted: Sandbox, command: Sequence[str], env: Mapping[str, str]) -> Sandbox:
    """With the command's own files to read; for who may name any command."""
    return replace(wanted, read=(*wanted.read, *runtime(command[0], env)))


def narrowed(parent: Sandbox | None, child: Sandbox | None) -> Sandbox | None:
    """What a child may touch: never more than its parent.  Raises `ValueError` naming the field."""
    if parent is None or child is None:
        return child or parent
    if child.files == "all" and parent.files != "all":
        raise ValueError("files")
    if parent.files != "all":
        _require_within("read", child.read, (*parent.read, *parent.write))
        _require_within("write", child.write, parent.write)
    if not set(child.net) <= set(parent.net):
        raise ValueError("net")
    return Sandbox(
        read=child.read,
        write=child.write,
        net=child.net,
        files=child.files,
        memory_bytes=_least(parent.memory_bytes, child.memory_bytes),
        ram_bytes=_least(parent.ram_bytes, child.ram_bytes),
        processes=_least(parent.processes, child.processes),
        open_files=_least(parent.open_files, child.open_files),
        file_bytes=_least(parent.file_bytes, child.file_bytes),
        cpu_s=_least(parent.cpu_s, child.cpu_s),
    )


def _require_within(field: str, paths: Sequence[str], granted: Sequence[str]) -> None:
    outer = [os.path.realpath(path) for path in granted]
    for path in paths:
        real = os.path.realpath(path)
        if not any(real == one or real.startswith(one.rstrip("/") + "/") for one in outer):
            raise ValueError(f"{field}: {path}")


def _least(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
