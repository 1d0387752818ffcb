"""Both formats of tokens keep the same promises."""

import random
import subprocess
import sys
from collections.abc import Sequence

import pytest
from biscuit_auth import Biscuit, BlockBuilder, PublicKey

from orlop.abi.errors import BadCall, Denied, Unauthenticated
from orlop.abi.ids import DEFAULT_TENANT, Nanoseconds, ProcessId
from orlop.abi.limits import TOKEN_BLOCKS_MAX, TOKEN_CHARS_MAX
from orlop.abi.rights import Rights
from orlop.machine.chance import SeededChance
from orlop.store.signing_keys import SigningKeys
from orlop.wire import biscuit, signed_chain, tokens
from orlop.wire.claims import NS_PER_S, Block, First, Said

NOW_NS = Nanoseconds(1_800_000_000 * NS_PER_S)
KEYS = SigningKeys.volatile(SeededChance(7))
STRANGERS = SigningKeys.volatile(SeededChance(8))
FORMATS: Sequence[tokens.Format] = ("biscuit", "ed25519")
HELD: Rights = ("tool:shop.*", "model", "spawn")

both = pytest.mark.parametrize("format", FORMATS)


def made(format: tokens.Format, allow: Rights = HELD, keys: SigningKeys = KEYS) -> str:
    first = First(tenant=DEFAULT_TENANT, process=ProcessId("prc_one"), incarnation=3, allow=allow)
    return tokens.make(format, first, keys.newest.number, keys.newest.private)


def read(token: str) -> Said:
    return tokens.read(token, public, NOW_NS)


def public(number: int) -> bytes | None:
    key = KEYS.find(number, NOW_NS)
    return None if key is None else key.public


def in_s(seconds: float) -> Nanoseconds:
    return Nanoseconds(NOW_NS + round(seconds * NS_PER_S))


@both
def test_a_token_says_whom_it_was_made_for(format: tokens.Format) -> None:
    said = read(made(format))
    assert (said.first.process, said.first.incarnation, said.format) == ("prc_one", 3, format)
    assert said.allow == HELD
    assert len(said.ids) == 1


@both
def test_a_narrowed_token_says_what_is_left(format: tokens.Format) -> None:
    token = tokens.narrow(made(format), Block(allow=("tool:shop.list",), expires_ns=in_s(60)))
    again = tokens.narrow(token, Block(expires_ns=in_s(30)))
    said = read(again)
    said.require_narrowing()
    assert said.allow == ("tool:shop.list",)
    assert said.expires_ns == in_s(30)
    assert said.ids[:2] == read(token).ids


@both
def test_nobody_narrows_to_more(format: tokens.Format) -> None:
    with pytest.raises(Denied, match="more than the token holds"):
        tokens.narrow(made(format), Block(allow=("tool:bank.pay",)))


@both
def test_a_block_that_claims_more_is_named(format: tokens.Format) -> None:
    """Whoever does not use our narrowing can write what he likes, and is found out."""
    token = _appended(made(format), Block(allow=("tool:bank.*",)))
    with pytest.raises(Unauthenticated, match=r"over-broad.*block 2 claims 'tool:bank\.\*'"):
        read(token).require_narrowing()


@both
def test_another_kernels_token_is_refused(format: tokens.Format) -> None:
    with pytest.raises(Unauthenticated):
        read(made(format, keys=STRANGERS))


@both
def test_a_key_that_is_no_longer_accepted_is_named(format: tokens.Format) -> None:
    with pytest.raises(Unauthenticated, match="key 1, which is not accepted"):
        tokens.read(made(format), lambda number: None, NOW_NS)


@both
def test_a_token_cut_anywhere_is_refused(format: tokens.Format) -> None:
    token = tokens.narrow(made(format), Block(allow=("model",)))
    for length in range(0, len(token), 7):
        with pytest.raises(Unauthenticated):
            read(token[:length])


@both
@pytest.mark.parametrize("seed", range(40))
def test_a_token_changed_anywhere_is_refused_or_says_the_same(
    format: tokens.Format, seed: int
) -> None:
    """The last letter of base 64 may have bits that say nothing."""
    chance = random.Random(seed)
    token = tokens.narrow(made(format), Block(allow=("model",)))
    place = chance.randrange(6, len(token))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = token[:place] + chance.choice(letters) + token[place + 1 :]
    try:
        said = read(changed)
    except Unauthenticated:
        return
    assert (said.first, said.blocks) == (read(token).first, read(token).blocks)


@both
def test_nonsense_is_refused(format: tokens.Format) -> None:
    chance, start = random.Random(11), made(format)[:6]
    for _ in range(200):
        junk = chance.randbytes(chance.randrange(120)).hex()
        for text in (start + junk, start + "A" * 43 + "." + junk, junk):
            with pytest.raises(Unauthenticated):
                read(text)


@both
def test_no_block_can_be_taken_away(format: tokens.Format) -> None:
    """What was narrowed stays so: a block's bytes put into another token fit nowhere."""
    whole = made(format)
    narrow = tokens.narrow(whole, Block(allow=()))
    assert read(narrow).allow == ()
    other = tokens.narrow(made(format), Block(allow=("model",)))
    for text in (narrow[: len(whole)], whole[:-20] + narrow[-20:], narrow[:-60] + other[-60:]):
        with pytest.raises(Unauthenticated):
            read(text)


@both
def test_a_token_has_so_many_blocks_at_most(format: tokens.Format) -> None:
    token = made(format)
    for _ in range(TOKEN_BLOCKS_MAX - 1):
        token = tokens.narrow(token, Block(allow=("model",)))
    assert len(token) < TOKEN_CHARS_MAX
    assert len(read(token).ids) == TOKEN_BLOCKS_MAX
    with pytest.raises(BadCall, match="TOKEN_BLOCKS_MAX"):
        tokens.narrow(token, Block(allow=("model",)))
    with pytest.raises(Unauthenticated, match="TOKEN_BLOCKS_MAX"):
        read(_appended(token, Block()))


@both
def test_a_token_that_is_too_long_is_refused_before_it_is_read(format: tokens.Format) -> None:
    with pytest.raises(Unauthenticated, match="TOKEN_CHARS_MAX"):
        read(made(format) + "A" * TOKEN_CHARS_MAX)


@both
def test_a_token_with_rights_that_nobody_can_read_is_refused(format: tokens.Format) -> None:
    with pytest.raises(Unauthenticated, match="no family"):
        read(made(format, ("everything:please",)))


@both
def test_a_busy_machine_refuses_no_good_token(format: tokens.Format) -> None:
    """Biscuit's own limit is 1 ms of wall-clock time, which a busy machine takes at ease."""
    token = tokens.narrow(made(format), Block(allow=("model",), expires_ns=in_s(60)))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)]
    try:
        for _ in range(4_000):
            read(token)
    finally:
        for one in busy:
            one.kill()
            one.wait()


def test_biscuits_own_attenuation_of_the_time_is_kept_to() -> None:
    """A standard Biscuit tool can shorten a token's life; our reader knows that check."""
    token = _foreign("check if time($time), $time < 2027-01-15T08:00:30Z")
    assert read(token).expires_ns == in_s(30)


@pytest.mark.parametrize(
    "code",
    [
        'allow("*")',
        "check if false",
        "check if time($time), $time < 2027-01-15T08:00:30Z or true",
        'right("x;\\nclaims(hex:7b7d)")',
        "claims(hex:7b7d); claims(hex:7b7d)",
        "claims(hex:7b7d); seen($x) <- claims($x)",
    ],
)
def test_a_block_that_says_more_than_we_understand_is_refused(code: str) -> None:
    with pytest.raises(Unauthenticated, match="does not know"):
        read(_foreign(code))


def test_claims_can_not_look_like_another_line() -> None:
    """The library prints strings as they are; ours are bytes."""
    hostile: Rights = ('tool:x");\nclaims(hex:7b7d);\n("',)
    with pytest.raises(Unauthenticated):
        read(made("biscuit", hostile))


def _foreign(code: str) -> str:
    """A token that a standard Biscuit tool has attenuated."""
    head, _, body = made("biscuit").partition(".")
    root = PublicKey(f"ed25519/{KEYS.newest.public.hex()}")
    token = Biscuit.from_base64(body + "=" * (-len(body) % 4), root)
    return f"{head}.{token.append(BlockBuilder(code + ';')).to_base64()}"


def _appended(token: str, block: Block) -> str:
    """One block more, without our own narrowing's refusals."""
    if token.startswith("orlp_b"):
        return biscuit.narrow(token, block)
    chain = signed_chain._chain(token)
    return signed_chain._append(chain, block)
