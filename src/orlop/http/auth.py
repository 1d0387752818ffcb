"""Headers to who is asking, and to the process that the call belongs to."""

import contextlib
from dataclasses import dataclass
from typing import Protocol

from orlop.abi.calls import Spawn
from orlop.abi.errors import (
    BadCall,
    Conflict,
    Denied,
    Fenced,
    TokenRefused,
    Unauthenticated,
)
from orlop.abi.ids import DEFAULT_TENANT, KeyId, TenantId
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.abi.rights import EVERYTHING, Family, Rights
from orlop.access.capability import Capability
from orlop.access.principal import (
    KeyPrincipal,
    OperatorPrincipal,
    PersonPrincipal,
    Principal,
    ProcessPrincipal,
    Tokens,
)
from orlop.access.rights import Narrowing, compiled
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import ALIVE, NAMELESS, State
from orlop.subsystems import lifecycle, rights, tenants, tokens


class Headers(Protocol):
    """Of one HTTP request; names in lower case."""

    def header(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.  `key`: a client key's id; `rights`: that key's."""

    principal: Principal
    tenant: TenantId
    """Whom he speaks for."""
    key: KeyId | None = None
    rights: Rights = EVERYTHING
    person: str = ""
    """Whose own token it is."""
    operates: bool = False
    """His key is for an operator of the tenant."""
    named: bool = False
    """He has said which tenant he means."""

    @property
    def narrowing(self) -> Narrowing | None:
        """What a narrowed token leaves of its process's rights."""
        if isinstance(self.principal, ProcessPrincipal):
            return self.principal.capability.narrowing
        return None

    @property
    def is_house(self) -> bool:
        """An operator of the whole installation."""
        return isinstance(self.principal, OperatorPrincipal)

    def require_operator(self) -> None:
        """Raises `Denied`."""
        if not (self.is_house or self.operates):
            raise Denied(
                "this is for operators: use the token in HOME/keys/operator.token, or a key of "
                "`orlop key create --operator`"
            )


class Doorman:
    """Reads tokens, and finds or makes the process that a caller speaks for."""

    def __init__(self, kernel: Kernel, tokens: Tokens) -> None:
        self.kernel = kernel
        self._tokens = tokens

    def caller(self, headers: Headers) -> Caller:
        """Raises `Unauthenticated`."""
        token = headers.header("authorization")
        token = token[7:].strip() if token[:7].lower() == "bearer " else token
        token = token or headers.header("x-api-key")
        if not token:
            raise Unauthenticated("no key was sent: `authorization: Bearer …` or `x-api-key: …`")
        now_ns = self.kernel.clock.wall_ns()
        principal = self._tokens.read(token, now_ns)
        named = headers.header("orlop-tenant")
        match principal:
            case ProcessPrincipal():
                tokens.require_good(self.kernel, principal.capability)
                caller = Caller(principal, principal.capability.said.first.tenant)
            case KeyPrincipal():
                caller = self._client(principal, now_ns)
            case PersonPrincipal():
                caller = self._person(principal)
            case OperatorPrincipal():
                tenant = tenants.known(self.kernel, named or DEFAULT_TENANT)
                return Caller(principal, tenant, named=bool(named))
        if named and named != caller.tenant:
            raise tenants.unknown(named)
        return caller

    def _person(self, principal: PersonPrincipal) -> Caller:
        """Raises `Unauthenticated`."""
        who = self.kernel.office.roster.by_secret.get(principal.digest)
        if who is None:
            raise Unauthenticated("no person here has this token; `orlop people add` makes one")
        tenant, name = who
        return Caller(principal, tenant, person=name)

    def _client(self, principal: KeyPrincipal, now_ns: int) -> Caller:
        """Raises `Unauthenticated`, `TokenRefused`."""
        keys = self.kernel.tables.keys
        key = keys.by_digest.get(principal.digest)
        if key is None:
            raise Unauthenticated("this kernel knows no such key; `orlop key create` makes one")
        row = keys.rows[key]
        if row.expires_ns is not None and now_ns >= row.expires_ns:
            raise TokenRefused(f"key {key} ({row.name or 'no name'}) has expired")
        return Caller(principal, row.tenant, key, row.rights, operates=row.operator)

    def require(self, caller: Caller, family: Family) -> None:
        """A right that is no process's call; people have none.  Raises `Denied`."""
        principal = caller.principal
        if caller.person:
            raise Denied(f"{caller.person}'s token is for questions and grants, not for {family}")
        if isinstance(principal, ProcessPrincipal):
            process = self._own(principal.capability)
            rights.require(process, family, narrowing=caller.narrowing)
        elif isinstance(principal, KeyPrincipal) and not compiled(caller.rights).allows(family):
            raise Denied(f"key {caller.key} has no right to {family}; it was made without")

    async def process(self, caller: Caller, headers: Headers) -> Process:
        """The process that the call belongs to.

        Raises `Fenced` for an old incarnation's token, `Denied` for a person's.
        """
        if caller.person:
            raise Denied(
                f"{caller.person}'s token is for questions and grants: people make no calls"
            )
        if isinstance(caller.principal, ProcessPrincipal):
            return self._own(caller.principal.capability)
        program, name = headers.header("orlop-program"), headers.header("orlop-process")
        if len(program) > NAME_CHARS_MAX or len(name) > NAME_CHARS_MAX:
            raise BadCall(f"orlop-program, orlop-process: at most {NAME_CHARS_MAX} characters")
        found = self.kernel.clients.find(caller.tenant, caller.key, program, name)
        if found is None:
            found = await self._new_client(caller, program, name)
        if found.row.state is State.NEW:
            await self._begin(found)
        if found.row.state not in ALIVE:
            raise Conflict(
                f"process {found.row.pid} ({name}) is {found.row.state}; "
                f"`orlop resume {found.row.pid}` starts it again"
            )
        return found

    def _own(self, capability: Capability) -> Process:
        process = self.kernel.processes.get(capability.process)
        if process is None or process.row.tenant != capability.said.first.tenant:
            raise Unauthenticated(f"process {capability.process} is no longer in the table")
        syscall.require_current(process, capability.incarnation)
        if process.row.state not in ALIVE:
            raise Fenced(f"process {process.row.pid} is {process.row.state}; this copy must end")
        return process

    async def _new_client(self, caller: Caller, program: str, name: str) -> Process:
        spawn = Spawn(command=(), name=name or NAMELESS, program=program)
        return await lifecycle.create(self.kernel, spawn, caller.tenant, key_id=caller.key)

    async def _begin(self, process: Process) -> None:
        """A client's first calls may come all at once: one of them starts it."""
        with contextlib.suppress(Conflict):
            await lifecycle.start(self.kernel, process, "first")
