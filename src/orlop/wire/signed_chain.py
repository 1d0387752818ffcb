"""Tokens as a chain of Ed25519 signatures: `orlp_e` and base 64 of MessagePack.

The fallback where Biscuit's library is not to be had, by the same idea: each block is signed with
the key that the block before names, and the token carries the private half of the last one.  So
whoever holds it can add a block; to take one away he would need a key that is no longer in it.
"""

import base64
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from orlop.abi.errors import Unauthenticated
from orlop.abi.limits import TOKEN_BLOCKS_MAX
from orlop.wire import claims
from orlop.wire.claims import Block, First, Said

PREFIX: Final = "orlp_e"
NAME: Final = "ed25519"
_DOMAIN: Final = b"orlop token 1\0"


class _Signed(Struct, frozen=True, array_like=True):
    said: bytes
    following: bytes
    """The public key of the next block's signer."""
    signature: bytes


class _Chain(Struct, frozen=True, array_like=True):
    key: int
    signed: tuple[_Signed, ...]
    secret: bytes
    """Private half of what the last block names."""


_chains = msgspec.msgpack.Decoder(_Chain)


def make(first: First, key: int, private: bytes) -> str:
    """A token that `private` (32 bytes, Ed25519) signs; `key` names it."""
    return _append(_Chain(key, (), private), first)


def narrow(text: str, block: Block) -> str:
    """The token with one block more.  Offline."""
    chain = _chain(text)
    if len(chain.signed) >= TOKEN_BLOCKS_MAX:
        raise Unauthenticated(f"{TOKEN_BLOCKS_MAX} blocks already (TOKEN_BLOCKS_MAX)")
    return _append(chain, block)


def read(text: str, public: Callable[[int], bytes | None]) -> Said:
    """What a token says, if the key that it names signed it.  Raises `Unauthenticated`."""
    chain = _chain(text)
    signer = public(chain.key)
    if signer is None:
        raise Unauthenticated(
            f"the token is signed with key {chain.key}, which is not accepted here"
        )
    before = b""
    for number, signed in enumerate(chain.signed):
        try:
            Ed25519PublicKey.from_public_bytes(signer).verify(
                signed.signature, _message(chain.key, number, signed, before)
            )
        except (InvalidSignature, ValueError) as error:
            raise Unauthenticated(
                f"forged, altered or cut off token: block {number + 1} is not signed as it should"
            ) from error
        signer, before = signed.following, signed.signature
    if len(chain.secret) != 32 or _public(chain.secret) != signer:
        raise Unauthenticated("forged, altered or cut off token: blocks are missing at its end")
    return _said(chain)


def unverified(text: str) -> Said:
    """For whoever holds it: nobody has checked who signed it."""
    return _said(_chain(text))


def _append(chain: _Chain, block: Block) -> str:
    following = Ed25519PrivateKey.generate()
    draft = _Signed(claims.written(block), following.public_key().public_bytes_raw(), b"")
    before = chain.signed[-1].signature if chain.signed else b""
    message = _message(chain.key, len(chain.signed), draft, before)
    signature = Ed25519PrivateKey.from_private_bytes(chain.secret).sign(message)
    signed = (*chain.signed, _Signed(draft.said, draft.following, signature))
    grown = _Chain(chain.key, signed, following.private_bytes_raw())
    text = base64.urlsafe_b64encode(msgspec.msgpack.encode(grown))
    return PREFIX + text.rstrip(b"=").decode()


def _message(key: int, number: int, signed: _Signed, before: bytes) -> bytes:
    """What a block's signature is over: its place in its chain too."""
    return _DOMAIN + msgspec.msgpack.encode((key, number, signed.said, signed.following, before))


def _chain(text: str) -> _Chain:
    """Raises `Unauthenticated`."""
    body = text.removeprefix(PREFIX)
    try:
        chain = _chains.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, msgspec.DecodeError) as error:
        raise Unauthenticated(f"altered or cut off token: {error}") from error
    if not 1 <= len(chain.signed) <= TOKEN_BLOCKS_MAX:
        raise Unauthenticated(f"a token has 1 to {TOKEN_BLOCKS_MAX} blocks (TOKEN_BLOCKS_MAX)")
    return chain


def _said(chain: _Chain) -> Said:
    head, *rest = chain.signed
    return Said(
        format=NAME,
        key=chain.key,
        first=claims.first(head.said),
        blocks=tuple(claims.block(signed.said) for signed in rest),
        ids=tuple(sha256(signed.signature).hexdigest() for signed in chain.signed),
    )


def _public(private: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
