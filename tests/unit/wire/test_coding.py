"""Bodies that came compressed."""

import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard

from orlop.abi.errors import BadCall, TooLarge
from orlop.wire.coding import unpacked

TEXT = b'{"model":"m","messages":[]}' * 400


def bare(body: bytes) -> bytes:
    """Deflated without a frame, as some clients send it."""
    made = zlib.compressobj(wbits=-15)
    return made.compress(body) + made.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare": ("deflate", bare),
    "zstd": ("zstd", zstandard.compress),
    "none": ("", bytes),
    "identity": ("Identity", bytes),
}
COMPRESSED = [name for name in PACKED if name not in ("none", "identity")]


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("body", [TEXT, b"", bytes(range(256)) * 3_000])
def test_a_body_comes_back_as_it_was_before(name: str, body: bytes) -> None:
    coding, pack = PACKED[name]
    assert unpacked(coding, pack(body), 2_000_000) == body


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_body_of_exactly_the_limit_fits_and_one_byte_more_does_not(name: str) -> None:
    coding, pack = PACKED[name]
    assert len(unpacked(coding, pack(TEXT), len(TEXT))) == len(TEXT)
    with pytest.raises(TooLarge):
        unpacked(coding, pack(TEXT), len(TEXT) - 1)


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_stands_for_much_is_not_unpacked_to_its_end(name: str) -> None:
    coding, pack = PACKED[name]
    with pytest.raises(TooLarge):
        unpacked(coding, pack(bytes(200_000_000)), 1_000)


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("lost", [1, 9, 40])
def test_a_body_that_breaks_off_is_refused(name: str, lost: int) -> None:
    coding, pack = PACKED[name]
    with pytest.raises(BadCall, match=coding.removeprefix("x-")):
        unpacked(coding, pack(TEXT)[:-lost], 1_000_000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_what_is_not_packed_as_said_is_refused(coding: str) -> None:
    with pytest.raises(BadCall, match=coding):
        unpacked(coding, TEXT, 1_000_000)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_several_parts_in_a_row_are_one_body(name: str) -> None:
    coding, pack = PACKED[name]
    assert unpacked(coding, pack(TEXT) + pack(b"") + pack(b"and more"), 1_000_000) == (
        TEXT + b"and more"
    )


def test_a_coding_that_nobody_here_knows_is_named() -> None:
    with pytest.raises(BadCall, match=r"'br'.*gzip, deflate, zstd"):
        unpacked("br", TEXT, 1_000_000)
