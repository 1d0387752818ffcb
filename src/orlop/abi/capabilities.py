"""Rights given and taken, and tokens: what the journal remembers, and what operators are shown."""

from msgspec import Struct

from orlop.abi.budgets import Amount
from orlop.abi.calls import Budget
from orlop.abi.ids import DEFAULT_TENANT, Nanoseconds, Pid, ProcessId, TenantId
from orlop.abi.rights import Rights


class RightGranted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="right.granted"):
    """The header's process holds one right more."""

    right: str
    by: str
    """Who gave it, in words."""


class RightsTaken(Struct, frozen=True, kw_only=True, tag_field="kind", tag="right.taken"):
    """The header's process holds these no more, exactly as its row had them."""

    rights: Rights
    by: str


class RightRefused(Struct, frozen=True, kw_only=True, tag_field="kind", tag="right.refused"):
    """Something was asked for that the process, its token or its key does not allow."""

    right: str
    """What it would have taken; empty where the token itself was refused."""
    incarnation: int
    reason: str
    token: str = ""
    """The revocation id of the token, if it was a narrowed one."""
    unsaid: int = 0
    """Refusals since the last one in the journal (REFUSALS_JOURNALED_MAX)."""


class TokenRevoked(Struct, frozen=True, kw_only=True, tag_field="kind", tag="token.revoked"):
    """A token and all that were narrowed from it are refused from here on.

    id: the revocation id of its newest block, or `prc_….N` for all tokens of incarnation N.
    """

    id: str
    reason: str = ""
    expires_ns: Nanoseconds | None = None
    """Of the token: then nobody need remember it.  None: never, or not known."""


class TokenBudget(Struct, frozen=True, kw_only=True):
    """What one block of a narrowed token allows to be used.  id: the block's revocation id."""

    id: str
    budget: Budget


class TokenBudgeted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="token.budgeted"):
    """A narrowed token with a budget has come in for the first time.

    token: the revocation id of its newest block.  blocks: those with a budget, the narrowest first.
    """

    token: str
    blocks: tuple[TokenBudget, ...]
    expires_ns: Nanoseconds | None = None


class SigningKeyMade(Struct, frozen=True, kw_only=True, tag_field="kind", tag="token.key_made"):
    """Tokens are signed with another key from here on."""

    key: int
    public: str
    """Hexadecimal, Ed25519."""
    earlier_until_ns: Nanoseconds
    """Until then tokens of earlier keys are accepted."""


class RightsOrder(Struct, frozen=True, kw_only=True):
    """`orlop rights grant PID RIGHT`, `orlop rights revoke PID RIGHT`."""

    right: str


class RightsView(Struct, frozen=True, kw_only=True):
    """`orlop rights show PID`."""

    process: ProcessId
    pid: Pid
    name: str
    rights: Rights
    refused: int
    """Calls refused for want of a right, since the kernel started."""


class TokenOrder(Struct, frozen=True, kw_only=True):
    """`orlop token show`: the token itself."""

    token: str


class RevokeOrder(Struct, frozen=True, kw_only=True):
    """`orlop token revoke`: a token, a revocation id, or a process (pid, id or name)."""

    what: str
    reason: str = ""


class RotateOrder(Struct, frozen=True, kw_only=True):
    """`orlop key rotate`."""

    accept_s: float = 604_800.0
    """How long tokens of earlier keys are accepted."""


class BlockView(Struct, frozen=True, kw_only=True):
    """One block of a token: what it narrows, and what it is revoked by."""

    id: str
    allow: Rights | None
    expires_ns: Nanoseconds | None
    revoked: bool = False
    budget: Budget | None = None
    used: Amount | None = None
    """Of that budget, by all who have the token; None: it has none, or was never used."""


class TokenView(Struct, frozen=True, kw_only=True):
    """What a token says, and whether it is accepted."""

    format: str
    process: ProcessId
    incarnation: int
    tenant: str
    key: int
    """Which of the kernel's keys signed it."""
    blocks: tuple[BlockView, ...]
    refusal: str = ""
    """Why it is refused; empty: it is accepted."""


class RevokedView(Struct, frozen=True, kw_only=True):
    id: str
    reason: str
    revoked_ns: Nanoseconds
    expires_ns: Nanoseconds | None = None
    tenant: TenantId = DEFAULT_TENANT


class SigningKeyView(Struct, frozen=True, kw_only=True):
    """A key that tokens are signed with, or were: the public half, for whoever checks one."""

    key: int
    public: str
    made_ns: Nanoseconds
    until_ns: Nanoseconds | None = None
    """Accepted until then; None: it signs now."""
