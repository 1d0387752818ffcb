"""A checkpoint is a C2SP note that only the journal's key can make."""

import msgspec

from orlop.abi.ids import JournalId
from orlop.machine.chance import SeededChance
from orlop.store import checkpoint
from orlop.store.keyring import Keyring
from orlop.store.merkle import Tree
from orlop.store.rows import Checkpoint

JOURNAL = JournalId("jrn_01h455vb4pex5vsknk084sn02q")
RING = Keyring.volatile(SeededChance(1))


def made() -> Checkpoint:
    tree = Tree()
    for number in range(5):
        tree.add(bytes([number]))
    return checkpoint.make(JOURNAL, tree, bytes(range(32)), 7, RING)


def test_a_note_says_what_was_signed() -> None:
    said = checkpoint.is_good(made(), JOURNAL, RING.verifier)
    assert said is not None
    assert (said.size, said.root, said.head, said.epoch) == (5, made().root, bytes(range(32)), 7)


def test_a_note_has_the_form_of_c2sp() -> None:
    text, signature = made().note.split("\n\n")
    assert text.splitlines()[:2] == [f"orlop.journal/{JOURNAL}", "5"]
    assert signature.startswith(f"— orlop.journal/{JOURNAL} ")


def test_any_changed_byte_is_noticed() -> None:
    good = made()
    for at in range(len(good.note)):
        note = good.note[:at] + chr(ord(good.note[at]) ^ 1) + good.note[at + 1 :]
        changed = msgspec.structs.replace(good, note=note)
        assert checkpoint.is_good(changed, JOURNAL, RING.verifier) is None


def test_another_key_or_journal_is_refused() -> None:
    other = Keyring.volatile(SeededChance(2))
    assert checkpoint.is_good(made(), JOURNAL, other.verifier) is None
    assert checkpoint.is_good(made(), JournalId("jrn_other"), RING.verifier) is None


def test_a_frontier_that_does_not_give_the_root_is_refused() -> None:
    changed = msgspec.structs.replace(made(), frontier=bytes(64))
    assert checkpoint.is_good(changed, JOURNAL, RING.verifier) is None


def test_a_witness_may_sign_beside_us() -> None:
    good = made()
    witnessed = msgspec.structs.replace(good, note=good.note + "— witness.example AAAAAAAA\n")
    assert checkpoint.is_good(witnessed, JOURNAL, RING.verifier) is not None
