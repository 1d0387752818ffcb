"""An anchor slot is read back whole, or not at all."""

from orlop.abi.ids import JournalId, Seq
from orlop.store.anchor import SLOT_BYTES, Anchor, decode, encode, newest


def anchor(generation: int, seq: int = 9_007_199_254_740_991) -> Anchor:
    return Anchor(
        epoch=4_000_000_000,
        generation=generation,
        hash="ab" * 32,
        journal=JournalId("jrn_01h455vb4pex5vsknk084sn02q"),
        seq=Seq(seq),
    )


def test_the_longest_anchor_fits_its_slot() -> None:
    slot = encode(anchor(generation=9_007_199_254_740_991))
    assert len(slot) == SLOT_BYTES
    assert decode(slot) == anchor(generation=9_007_199_254_740_991)


def test_every_flipped_bit_is_noticed() -> None:
    slot = encode(anchor(generation=1))
    used = len(slot.rstrip(b"\0"))
    for at in range(used):
        for bit in range(8):
            flipped = bytearray(slot)
            flipped[at] ^= 1 << bit
            assert decode(bytes(flipped)) is None


def test_every_torn_write_leaves_the_old_slot_the_new_one_or_none() -> None:
    old, new = anchor(generation=1, seq=10), anchor(generation=3, seq=12)
    for cut in range(SLOT_BYTES + 1):
        found = decode(encode(new)[:cut] + encode(old)[cut:])
        assert found in (old, new, None)


def test_the_newer_of_two_slots_counts_and_bad_ones_are_named() -> None:
    older, newer = anchor(generation=4), anchor(generation=5)
    assert newest((encode(older), encode(newer))) == (newer, [])
    assert newest((encode(older), b"")) == (older, [1])
    assert newest((b"", bytes(SLOT_BYTES))) == (None, [0, 1])
