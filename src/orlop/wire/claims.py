"""What a token says, whatever its format: who it speaks for, and what each block leaves of that.

A token begins with the kernel's block and goes on with one a narrowing.  Whoever holds it can add a
block offline; nobody can take one away.
"""

from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi import rights
from orlop.abi.calls import Budget
from orlop.abi.errors import BadCall, Unauthenticated
from orlop.abi.ids import Nanoseconds, ProcessId, TenantId
from orlop.abi.limits import RIGHTS_MAX
from orlop.abi.rights import Rights

NS_PER_S: Final = 1_000_000_000

BUDGET_MAX: Final = 2**53
"""In each unit."""


class Block(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A narrowing.  None: as in the block before."""

    allow: Rights | None = None
    expires_ns: Nanoseconds | None = None
    """Whole seconds."""
    budget: Budget | None = None
    """What may be used with it, at most; that of the block before, and its process's, hold too."""


class First(Block, frozen=True, kw_only=True, omit_defaults=True):
    """The kernel's block.  `allow`: what the process held when the token was made."""

    tenant: TenantId
    process: ProcessId
    incarnation: int
    budget: Budget = Budget()
    """Its process's, as it was then; the kernel's ledger says what is left of it."""


class Said(Struct, frozen=True, kw_only=True):
    """A token, read.  `ids`: one a block; revoking one revokes what was narrowed from it."""

    format: str
    key: int
    first: First
    blocks: tuple[Block, ...]
    """Those after the first."""
    ids: tuple[str, ...]

    @property
    def expires_ns(self) -> Nanoseconds | None:
        """The earliest of all."""
        all = [block.expires_ns for block in (self.first, *self.blocks) if block.expires_ns]
        return min(all, default=None)

    @property
    def allow(self) -> Rights:
        """What the last narrowing left."""
        lists = [block.allow for block in (self.first, *self.blocks) if block.allow is not None]
        return lists[-1] if lists else rights.EVERYTHING

    def require_narrowing(self) -> None:
        """Each block holds no more than the one before.  Raises `Unauthenticated`."""
        held = self.first.allow or ()
        for number, block in enumerate(self.blocks, 2):
            if block.allow is None:
                continue
            for text in block.allow:
                if not rights.covers(held, text):
                    raise Unauthenticated(
                        f"over-broad token: its block {number} claims {text!r}, which block "
                        f"{number - 1} does not hold ({rights.shown(held)})"
                    )
            held = block.allow


_encoder = msgspec.json.Encoder()
_firsts = msgspec.json.Decoder(First, strict=True)
_blocks = msgspec.json.Decoder(Block, strict=True)


def written(block: Block) -> bytes:
    return _encoder.encode(block)


def first(data: bytes) -> First:
    """Raises `Unauthenticated`."""
    try:
        said = _firsts.decode(data)
        require_readable(said)
        return said
    except msgspec.DecodeError as error:
        raise Unauthenticated(f"the token's first block can't be read: {error}") from error


def block(data: bytes) -> Block:
    """Raises `Unauthenticated`."""
    try:
        said = _blocks.decode(data)
        require_readable(said)
        return said
    except msgspec.DecodeError as error:
        raise Unauthenticated(f"a block of the token can't be read: {error}") from error


def require_readable(said: Block) -> None:
    """Rights that nobody can read allow nothing.  Raises `Unauthenticated`."""
    allow, budget = said.allow or (), said.budget or Budget()
    amounts = (budget.calls, budget.tokens, budget.nano_dollars, budget.seconds)
    if any(amount is not None and not 0 <= amount <= BUDGET_MAX for amount in amounts):
        raise Unauthenticated("a block of the token has a budget that nobody can have")
    if len(allow) > RIGHTS_MAX:
        raise Unauthenticated(f"{len(allow)} rights in a block of the token (RIGHTS_MAX)")
    try:
        for text in allow:
            rights.read(text)
    except BadCall as error:
        raise Unauthenticated(f"a block of the token: {error.message}") from error


def whole_seconds(ns: Nanoseconds) -> Nanoseconds:
    """Rounded up: formats write seconds."""
    return Nanoseconds(-(-ns // NS_PER_S) * NS_PER_S)
