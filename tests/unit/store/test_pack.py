"""What is packed is unpacked, and old ways of packing stay readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.errors import JournalDamaged
from orlop.store.pack import pack, unpack

GOLDEN = [
    "01430d7f12d3307af4d15b3b00",
    "0228b52ffd20bd8d000000057c0024f4b922499b08bc2c8a40493b",
    "0328b52ffd20bd95000000057c00163c2a266b65d68f11a985129a0f",
]
"""Deflated, and by each of the dictionaries: release 0.1 wrote the first two."""


@given(st.binary(max_size=2000) | st.text(max_size=2000).map(str.encode))
def test_what_is_packed_is_unpacked(plain: bytes) -> None:
    assert unpack(pack(plain)) == plain
    assert len(pack(plain)) <= len(plain) + 1


@pytest.mark.parametrize("size", [0, 63, 64, 4096, 4097, 1_000_000])
def test_all_sizes_come_back(size: int) -> None:
    plain = (b'{"kind":"call.entered","number":%d}' % size * (size // 8 + 1))[:size]
    assert unpack(pack(plain)) == plain


@pytest.mark.parametrize("packed", GOLDEN)
def test_bodies_of_every_release_stay_readable(packed: str) -> None:
    assert (
        unpack(bytes.fromhex(packed))
        == b'{"kind":"call.entered","incarnation":1,"body":{"type":"infer"}}' * 3
    )


def test_what_was_not_packed_here_is_refused() -> None:
    for packed in (b"", b"\x07abc", b"\x01\xff\xff", b"\x02\xff\xff", b"\x03\xff\xff"):
        with pytest.raises(JournalDamaged):
            unpack(packed)
