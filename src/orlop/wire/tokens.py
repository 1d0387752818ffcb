"""Tokens of processes, in either format: both halves, without I/O.

The kernel makes and reads them (`access.capability`); whoever holds one narrows it (`sdk.tokens`).
"""

from collections.abc import Callable
from typing import Final, Literal

from orlop.abi.errors import BadCall, Unauthenticated
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import TOKEN_BLOCKS_MAX, TOKEN_CHARS_MAX
from orlop.abi.rights import narrowed as narrowed_rights
from orlop.abi.rights import shown
from orlop.wire import biscuit, signed_chain
from orlop.wire.claims import Block, First, Said, whole_seconds

Format = Literal["biscuit", "ed25519"]

PREFIX: Final = "orlp_"
"""Of every process's token."""

_MAKERS: Final = {biscuit.NAME: biscuit.make, signed_chain.NAME: signed_chain.make}


def make(format: Format, first: First, key: int, private: bytes) -> str:
    return _MAKERS[format](first, key, private)


def read(text: str, public: Callable[[int], bytes | None], now_ns: Nanoseconds) -> Said:
    """What a token says that an accepted key signed.  Raises `Unauthenticated` naming the rule.

    public: the key of that number, if it is accepted.  Expiry, revocation, and blocks that claim
    more than the one before are the caller's to look at.
    """
    _require_size(text)
    if text.startswith(biscuit.PREFIX):
        return biscuit.read(text, public, now_ns)
    if text.startswith(signed_chain.PREFIX):
        return signed_chain.read(text, public)
    raise Unauthenticated("the token is none of this kernel's formats (orlp_b…, orlp_e…)")


def unverified(text: str) -> Said:
    """What it says; nobody has checked who signed it.  Raises `Unauthenticated`."""
    _require_size(text)
    if text.startswith(biscuit.PREFIX):
        return biscuit.unverified(text)
    if text.startswith(signed_chain.PREFIX):
        return signed_chain.unverified(text)
    raise Unauthenticated("this is no process's token (orlp_b…, orlp_e…)")


def narrow(text: str, block: Block) -> str:
    """The token with one block more, offline.

    Raises `Denied` for a right that it does not hold, `BadCall` where it can't get any longer.
    """
    said = unverified(text)
    if block.allow is not None:
        narrowed_rights(said.allow, block.allow, "the token")
    if len(said.ids) >= TOKEN_BLOCKS_MAX:
        raise BadCall(f"the token has {TOKEN_BLOCKS_MAX} blocks already (TOKEN_BLOCKS_MAX)")
    is_biscuit = text.startswith(biscuit.PREFIX)
    made = biscuit.narrow(text, block) if is_biscuit else signed_chain.narrow(text, block)
    if len(made) > TOKEN_CHARS_MAX:
        raise BadCall(
            f"the token would have {len(made)} characters, more than {TOKEN_CHARS_MAX} "
            f"(TOKEN_CHARS_MAX), with {shown(block.allow or ())}"
        )
    return made


def _require_size(text: str) -> None:
    if len(text) > TOKEN_CHARS_MAX:
        raise Unauthenticated(
            f"the token has {len(text)} characters; at most {TOKEN_CHARS_MAX} (TOKEN_CHARS_MAX)"
        )


__all__ = ["Block", "First", "Format", "Said", "make", "narrow", "read", "whole_seconds"]
