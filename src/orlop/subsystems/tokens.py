"""Tokens as the kernel sees them now: expired, revoked, and what operators ask about them."""

from orlop.abi.capabilities import (
    BlockView,
    RevokedView,
    RevokeOrder,
    RotateOrder,
    SigningKeyMade,
    SigningKeyView,
    TokenRevoked,
    TokenView,
)
from orlop.abi.errors import BadCall, Exhausted, NotFound, TokenRefused, Unauthenticated
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, Nanoseconds, TenantId
from orlop.abi.limits import EXPIRY_S_MAX, NAME_CHARS_MAX, TOKENS_REVOKED_MAX
from orlop.access.capability import Capabilities, Capability, incarnation_name
from orlop.machine.clock import NS_PER_S
from orlop.state import token_budgets
from orlop.state.core import Kernel
from orlop.store.signing_keys import SigningKey
from orlop.subsystems import rights
from orlop.wire import tokens as wire
from orlop.wire.claims import Block

REVOCATION_ID_CHARS = 64


def require_good(kernel: Kernel, capability: Capability) -> None:
    """Raises `TokenRefused`, which the journal then holds where its process is known."""
    if reason := fault(kernel, capability):
        error = TokenRefused(reason)
        if (process := kernel.processes.get(capability.process)) is not None:
            rights.refuse(kernel, process, error, narrowing=capability.narrowing)
        raise error


def fault(kernel: Kernel, capability: Capability) -> str:
    """Why the token is refused now; empty: it is not."""
    reason = capability.fault(kernel.clock.wall_ns())
    revoked = kernel.tables.tokens.rows
    if not reason and revoked and not capability.names.isdisjoint(revoked):
        row = next(revoked[name] for name in capability.names if name in revoked)
        reason = f"revoked token ({row.id}){': ' + row.reason if row.reason else ''}"
    return reason


async def revoke(
    kernel: Kernel, capabilities: Capabilities, order: RevokeOrder, tenant: TenantId
) -> RevokedView:
    """By the token itself, by the id of one of its blocks, or all of a process's incarnation."""
    if len(order.reason) > NAME_CHARS_MAX or not order.reason.isprintable():
        raise BadCall(f"reason: at most {NAME_CHARS_MAX} printable characters")
    id, expires_ns = named(kernel, capabilities, order.what, tenant)
    if id not in kernel.tables.tokens.rows and len(kernel.tables.tokens.rows) >= TOKENS_REVOKED_MAX:
        raise Exhausted(
            f"{TOKENS_REVOKED_MAX} tokens are revoked (TOKENS_REVOKED_MAX): `orlop key rotate` "
            "makes all earlier ones worthless, at a time that it names"
        )
    event = TokenRevoked(id=id, reason=order.reason, expires_ns=expires_ns)
    await kernel.journal.durable(kernel.emit(KERNEL_PROCESS, tenant, event).seq)
    return kernel.tables.tokens.rows[id]


def named(
    kernel: Kernel, capabilities: Capabilities, what: str, tenant: TenantId
) -> tuple[str, Nanoseconds | None]:
    """The id that revokes what is meant, and when that expires.  Raises `NotFound`."""
    if what.startswith(wire.PREFIX):
        capability = read(kernel, capabilities, what, tenant)
        if capability.said.blocks:
            return capability.said.ids[-1], capability.expires_ns
        return incarnation_name(capability.process, capability.incarnation), None
    if len(what) == REVOCATION_ID_CHARS and set(what) <= set("0123456789abcdef"):
        return what, None
    row = kernel.find(what, tenant).row
    if not row.incarnation:
        raise NotFound(f"process {row.pid} has not started: it has no token")
    return incarnation_name(row.id, row.incarnation), None


def read(kernel: Kernel, capabilities: Capabilities, token: str, tenant: TenantId) -> Capability:
    """Raises `Unauthenticated` where it is not ours, or speaks for another tenant."""
    capability = capabilities.read(token, kernel.clock.wall_ns())
    if capability.said.first.tenant != tenant:
        raise Unauthenticated(f"the token is none of tenant {tenant}'s")
    return capability


def view(kernel: Kernel, capabilities: Capabilities, token: str, tenant: TenantId) -> TokenView:
    """What it says, and why it is refused, if it is.  Raises `Unauthenticated`."""
    capability = read(kernel, capabilities, token, tenant)
    said, known = capability.said, kernel.tables.tokens.rows
    blocks = (said.first, *said.blocks)
    ledger = kernel.tables.ledger.accounts

    def shown(id: str, block: Block) -> BlockView:
        account = ledger.get((tenant, token_budgets.account_of(id)))
        is_own = block is not said.first  # The first block's is its process's.
        return BlockView(
            id=id,
            allow=block.allow,
            expires_ns=block.expires_ns,
            revoked=id in known,
            budget=block.budget if is_own else None,
            used=account.ever if is_own and account is not None else None,
        )

    return TokenView(
        format=said.format,
        process=capability.process,
        incarnation=capability.incarnation,
        tenant=said.first.tenant,
        key=said.key,
        blocks=tuple(shown(id, block) for id, block in zip(said.ids, blocks, strict=True)),
        refusal=fault(kernel, capability),
    )


def revoked(kernel: Kernel, tenant: TenantId) -> list[RevokedView]:
    """The newest last."""
    rows = [row for row in kernel.tables.tokens.rows.values() if row.tenant == tenant]
    return sorted(rows, key=lambda row: row.revoked_ns)


async def rotate(kernel: Kernel, capabilities: Capabilities, order: RotateOrder) -> SigningKeyView:
    """A new signing key; tokens of earlier ones are accepted until the time that the order names.

    The key is kept before the journal says so: a token is never signed with one that is lost.
    """
    if not 0 <= order.accept_s <= EXPIRY_S_MAX:
        raise BadCall(f"accept_s: from 0 to {EXPIRY_S_MAX:g}, not {order.accept_s:g}")
    now_ns = kernel.clock.wall_ns()
    until_ns = Nanoseconds(now_ns + round(order.accept_s * NS_PER_S))
    made = capabilities.keys.rotate(kernel.chance, now_ns, until_ns)
    capabilities.rotated()
    event = SigningKeyMade(key=made.number, public=made.public.hex(), earlier_until_ns=until_ns)
    await kernel.journal.durable(kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event).seq)
    return key_view(made)


def signing_keys(capabilities: Capabilities) -> list[SigningKeyView]:
    return [key_view(key) for key in capabilities.keys.all]


def key_view(key: SigningKey) -> SigningKeyView:
    return SigningKeyView(
        key=key.number, public=key.public.hex(), made_ns=key.made_ns, until_ns=key.until_ns
    )
