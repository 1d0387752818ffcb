"""Headers to who is asking, and to the process that the call belongs to."""

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from orlop.abi.calls import Spawn
from orlop.abi.errors import BadCall, Conflict, Denied, Fenced, Unauthenticated
from orlop.abi.ids import DEFAULT_TENANT, KeyId
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.access.principal import (
    KeyPrincipal,
    OperatorPrincipal,
    Principal,
    ProcessPrincipal,
    Tokens,
)
from orlop.kernel import lifecycle, syscall
from orlop.kernel.core import Kernel
from orlop.kernel.process import ALIVE, NAMELESS, Process, State

TOKENS_CACHED_MAX: Final = 4_096


class Headers(Protocol):
    """Of one HTTP request; names in lower case."""

    def header(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.  `key`: a client key's id."""

    principal: Principal
    key: KeyId | None = None

    def require_operator(self) -> None:
        """Raises `Denied`."""
        if not isinstance(self.principal, OperatorPrincipal):
            raise Denied("this is for operators: use the token in HOME/keys/operator.token")


class Doorman:
    """Reads tokens, and finds or makes the process that a caller speaks for."""

    def __init__(self, kernel: Kernel, tokens: Tokens) -> None:
        self._kernel = kernel
        self._tokens = tokens
        self._read: OrderedDict[str, Principal] = OrderedDict()

    def caller(self, headers: Headers) -> Caller:
        """Raises `Unauthenticated`."""
        token = headers.header("authorization")
        token = token[7:].strip() if token[:7].lower() == "bearer " else token
        token = token or headers.header("x-api-key")
        if not token:
            raise Unauthenticated("no key was sent: `authorization: Bearer …` or `x-api-key: …`")
        principal = self._read.get(token)
        if principal is None:
            principal = self._read[token] = self._tokens.read(token)
            if len(self._read) > TOKENS_CACHED_MAX:
                self._read.popitem(last=False)
        if not isinstance(principal, KeyPrincipal):
            return Caller(principal)
        key = self._kernel.tables.keys.by_digest.get(principal.digest)
        if key is not None:
            return Caller(principal, key)
        raise Unauthenticated("this kernel knows no such key; `orlop key create` makes one")

    async def process(self, caller: Caller, headers: Headers) -> Process:
        """The process that the call belongs to.  Raises `Fenced` for an old incarnation's token."""
        if isinstance(caller.principal, ProcessPrincipal):
            return self._own(caller.principal)
        program, name = headers.header("orlop-program"), headers.header("orlop-process")
        if len(program) > NAME_CHARS_MAX or len(name) > NAME_CHARS_MAX:
            raise BadCall(f"orlop-program, orlop-process: at most {NAME_CHARS_MAX} characters")
        found = self._kernel.clients.find(caller.key, program, name)
        if found is None:
            found = await self._new_client(caller.key, program, name)
        if found.row.state is State.NEW:
            await self._begin(found)
        if found.row.state not in ALIVE:
            raise Conflict(
                f"process {found.row.pid} ({name}) is {found.row.state}; "
                f"`orlop resume {found.row.pid}` starts it again"
            )
        return found

    def _own(self, principal: ProcessPrincipal) -> Process:
        process = self._kernel.processes.get(principal.process)
        if process is None:
            raise Unauthenticated(f"process {principal.process} is no longer in the table")
        syscall.require_current(process, principal.incarnation)
        if process.row.state not in ALIVE:
            raise Fenced(f"process {process.row.pid} is {process.row.state}; this copy must end")
        return process

    async def _new_client(self, key: KeyId | None, program: str, name: str) -> Process:
        spawn = Spawn(command=(), name=name or NAMELESS, program=program)
        return await lifecycle.create(self._kernel, spawn, DEFAULT_TENANT, key_id=key)

    async def _begin(self, process: Process) -> None:
        """A client's first calls may come all at once: one of them starts it."""
        with contextlib.suppress(Conflict):
            await lifecycle.start(self._kernel, process, "first")
