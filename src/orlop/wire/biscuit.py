"""Tokens as Biscuits (biscuitsec.org): `orlp_b`, the key that signed, `.`, the Biscuit in base 64.

Each block holds our claims as bytes, `claims(hex:…)`, and an expiry as a check of Biscuit's own.
A block that says anything else is refused: what we would not understand we must not overlook.  The
library prints strings unescaped, so claims are bytes: nothing in them can look like another line.
"""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from biscuit_auth import (
    AuthorizationError,
    AuthorizerBuilder,
    Biscuit,
    BiscuitBlockError,
    BiscuitBuilder,
    BiscuitBuildError,
    BiscuitSerializationError,
    BiscuitValidationError,
    BlockBuilder,
    DataLogError,
    KeyPair,
    PrivateKey,
    PublicKey,
    UnverifiedBiscuit,
)
from msgspec.structs import replace

from orlop.abi.errors import Broken, Unauthenticated
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import TOKEN_BLOCKS_MAX
from orlop.wire import claims
from orlop.wire.claims import NS_PER_S, Block, First, Said

PREFIX: Final = "orlp_b"
NAME: Final = "biscuit"

RUN_S_MAX: Final = 60.0
"""For Biscuit's checks.  They take microseconds; the library's own limit of 1 ms of wall-clock time
refuses good tokens on a busy machine."""


class _Limits(Protocol):
    max_time: timedelta


@runtime_checkable
class _Limited(Protocol):
    """What the library's type stubs do not know of its `AuthorizerBuilder`."""

    def limits(self) -> _Limits: ...
    def set_limits(self, limits: _Limits) -> None: ...


_LINE: Final = re.compile(
    r"claims\(hex:(?P<claims>[0-9a-f]*)\)|check if time\(\$time\), \$time < (?P<until>[-0-9T:]+)Z"
)
_FAILURES: Final = (
    BiscuitBlockError,
    BiscuitSerializationError,
    BiscuitValidationError,
    DataLogError,
    ValueError,
)


def make(first: First, key: int, private: bytes) -> str:
    """A token that `private` (32 bytes, Ed25519) signs; `key` names it."""
    signer = PrivateKey(f"ed25519-private/{private.hex()}")
    builder = BiscuitBuilder()
    builder.merge(_built(first))
    builder.set_root_key_id(key)
    try:
        token = builder.build(signer)
    except BiscuitBuildError as error:
        raise Broken(f"a token can't be made: {error}") from error
    public = KeyPair.from_private_key(signer).public_key
    return f"{PREFIX}{_text(bytes(public.to_bytes()))}.{token.to_base64().rstrip('=')}"


def narrow(text: str, block: Block) -> str:
    """The token with one block more.  Offline: the key that it names is enough for this."""
    public, body = _parts(text)
    token = _verified(body, lambda key: public).append(_built(block))
    return f"{PREFIX}{_text(public)}.{token.to_base64().rstrip('=')}"


def read(text: str, public: Callable[[int], bytes | None], now_ns: Nanoseconds) -> Said:
    """What a token says, if the key that it names signed it.  Raises `Unauthenticated`."""
    _, body = _parts(text)
    said, token = said_by(body, _verified(body, public))
    if said.expires_ns is None or now_ns < said.expires_ns:
        _run_checks(token, now_ns)
    return said


def unverified(text: str) -> Said:
    """For whoever holds it: nobody has checked who signed it."""
    public, body = _parts(text)
    return said_by(body, _verified(body, lambda key: public))[0]


def said_by(body: str, token: Biscuit) -> tuple[Said, Biscuit]:
    sources = [token.block_source(number) for number in range(token.block_count())]
    read = [_block(source, is_first=number == 0) for number, source in enumerate(sources)]
    head, *rest = read
    if not isinstance(head, First):
        raise Unauthenticated("the token's first block names no process")
    key = UnverifiedBiscuit.from_base64(body).root_key_id()
    said = Said(
        format=NAME,
        key=key or 0,
        first=head,
        blocks=tuple(rest),
        ids=tuple(id[:64] for id in token.revocation_ids),
    )
    return said, token


def _verified(body: str, public: Callable[[int], bytes | None]) -> Biscuit:
    """Raises `Unauthenticated`."""
    try:
        unverified = UnverifiedBiscuit.from_base64(body)
        key, count = unverified.root_key_id(), unverified.block_count()
        signer = public(key if key is not None else -1)
        if signer is None:
            raise Unauthenticated(f"the token is signed with key {key}, which is not accepted here")
        if count > TOKEN_BLOCKS_MAX:
            raise Unauthenticated(f"{count} blocks; at most {TOKEN_BLOCKS_MAX} (TOKEN_BLOCKS_MAX)")
        root = PublicKey(f"ed25519/{signer.hex()}")
        token = Biscuit.from_base64(body, root)
        if any(token.block_external_key(number) for number in range(token.block_count())):
            raise Unauthenticated("the token has a block that somebody else signed")
        return token
    except _FAILURES as error:
        raise Unauthenticated(f"forged, altered or cut off token: {error}") from error


def _built(block: Block) -> BlockBuilder:
    builder = BlockBuilder("claims({said});", {"said": claims.written(block)})
    if block.expires_ns is not None:
        until = datetime.fromtimestamp(block.expires_ns // NS_PER_S, UTC)
        builder.add_code("check if time($time), $time < {until};", {"until": until})
    return builder


def _block(source: str, *, is_first: bool) -> Block:
    """Raises `Unauthenticated`."""
    said: bytes | None = None
    until: list[int] = []
    for line in filter(None, source.split(";\n")):
        found = _LINE.fullmatch(line)
        if found is None or (found["claims"] is not None and said is not None):
            raise Unauthenticated(
                f"a block of the token says what this kernel does not know: {line[:200]!r}"
            )
        if found["claims"] is not None:
            said = bytes.fromhex(found["claims"])
        else:
            until.append(_seconds(found["until"]) * NS_PER_S)
    if said is None and (is_first or not until):
        raise Unauthenticated("a block of the token makes no claims")
    block = (claims.first if is_first else claims.block)(said or b"{}")
    if block.expires_ns is not None:
        until.append(block.expires_ns)
    return replace(block, expires_ns=Nanoseconds(min(until)) if until else None)


def _run_checks(token: Biscuit, now_ns: Nanoseconds) -> None:
    """Biscuit's own word on its own checks.  Raises `Unauthenticated`."""
    now = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    builder = AuthorizerBuilder("time({now}); allow if true;", {"now": now})
    assert isinstance(builder, _Limited)
    limits = builder.limits()
    limits.max_time = timedelta(seconds=RUN_S_MAX)
    builder.set_limits(limits)
    try:
        builder.build(token).authorize()
    except AuthorizationError as error:
        raise Unauthenticated(f"the token has expired, or a check of it fails: {error}") from error


def _seconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text + "+00:00").timestamp())
    except ValueError as error:
        raise Unauthenticated(f"a block of the token has no date: {text!r}") from error


def _parts(text: str) -> tuple[bytes, str]:
    """The key that it names, and the Biscuit."""
    public, dot, body = text.removeprefix(PREFIX).partition(".")
    try:
        key = base64.urlsafe_b64decode(public + "=" * (-len(public) % 4))
    except ValueError:
        key = b""
    if not dot or len(key) != 32:
        raise Unauthenticated("cut off token: it has no key in it")
    return key, body + "=" * (-len(body) % 4)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
