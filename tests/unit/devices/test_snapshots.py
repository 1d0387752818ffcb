"""Saved contexts as files: bounds, checks, and what is left after a kill."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from orlop.abi.ids import Nanoseconds
from orlop.devices.llamacpp_state import tokens_in
from orlop.devices.snapshots import Folders, Note, Snapshots, own_folder

BYTES = 1_000
SEED = 7


@dataclass
class StillClock:
    """Time moves when a test says so."""

    wall: int = 10**18
    slept_s: float = 0.0
    seen: list[float] = field(default_factory=list)

    def now_s(self) -> float:
        return self.wall / 1e9

    def wall_ns(self) -> Nanoseconds:
        return Nanoseconds(self.wall)

    async def sleep(self, delay_s: float) -> None:
        self.wall += int(delay_s * 1e9)

    def pass_s(self, seconds: float) -> None:
        self.wall += int(seconds * 1e9)


def store(
    tmp_path: Path, clock: StillClock, ram: int = 3, disk: int = 2, fingerprint: str = "model a"
) -> Snapshots:
    """A store for so many snapshots of a thousand bytes; a token takes a second to compute."""
    for name in ("ram", "disk"):
        own_folder(tmp_path / name)
    folders = Folders(
        ram=tmp_path / "ram",
        disk=tmp_path / "disk",
        ram_bytes=ram * BYTES,
        disk_bytes=disk * BYTES,
    )
    return Snapshots(folders, fingerprint, float, clock)


def save(kept: Snapshots, name: str, tokens: int = 100, size: int = BYTES) -> None:
    path = kept.fresh()
    path.write_bytes(random.Random(name).randbytes(size))
    note = Note(context=name, program=f"of {name}", tokens=tokens, bytes=0, crc32=0, fingerprint="")
    kept.keep(path, note)


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.kv")}


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    kept = store(tmp_path, StillClock())
    save(kept, "c")
    ready = kept.ready("c")
    assert ready is not None
    path, note = ready
    assert path.read_bytes() == random.Random("c").randbytes(BYTES)
    assert (note.program, note.tokens, note.bytes) == ("of c", 100, BYTES)
    assert kept.ready("nobody") is None


@pytest.mark.parametrize("tier", ["ram", "disk"])
def test_one_flipped_bit_anywhere_is_noticed_and_the_snapshot_is_gone(
    tmp_path: Path, tier: str
) -> None:
    chance = random.Random(SEED)
    for _ in range(20):
        kept = store(tmp_path, StillClock(), ram=3 if tier == "ram" else 1)
        save(kept, "c")
        if tier == "disk":
            save(kept, "pushes it out", tokens=10_000)
        (path,) = (tmp_path / tier).glob("c.kv")
        data = bytearray(path.read_bytes())
        at, bit = chance.randrange(BYTES), chance.randrange(8)
        data[at] ^= 1 << bit
        path.write_bytes(data)
        assert kept.ready("c") is None, f"byte {at}, bit {bit}, seed {SEED}"
        assert not path.exists()
        assert kept.refused == 1
        kept.erase()


def test_a_cut_off_file_is_noticed(tmp_path: Path) -> None:
    kept = store(tmp_path, StillClock())
    save(kept, "c")
    path = tmp_path / "ram" / "c.kv"
    path.write_bytes(path.read_bytes()[:-1])
    assert kept.ready("c") is None


def test_the_next_kernel_finds_what_was_whole_and_removes_the_rest(tmp_path: Path) -> None:
    kept = store(tmp_path, StillClock())
    save(kept, "whole")
    # Killed while the engine wrote, and between its file and the note.
    kept.fresh().write_bytes(b"half")
    (tmp_path / "ram" / "no-note.kv").write_bytes(b"whole but unsigned")
    (tmp_path / "ram" / "broken.json").write_bytes(b"{")
    heir = store(tmp_path, StillClock())
    heir.scan()
    assert set(heir.notes) == {"whole"}
    assert names(tmp_path / "ram") == {"whole"}
    assert heir.ready("whole") is not None


def test_a_context_of_another_model_is_refused(tmp_path: Path) -> None:
    save(store(tmp_path, StillClock()), "c")
    other = store(tmp_path, StillClock(), fingerprint="model b")
    other.scan()
    assert other.ready("c") is None
    assert other.refused == 1
    assert not list((tmp_path / "ram").iterdir())


def test_a_note_that_was_changed_while_it_was_held_is_refused_too(tmp_path: Path) -> None:
    kept = store(tmp_path, StillClock())
    save(kept, "c")
    path = tmp_path / "ram" / "c.json"
    note = msgspec.json.decode(path.read_bytes(), type=Note)
    path.write_bytes(msgspec.json.encode(replace(note, crc32=note.crc32 ^ 1)))
    heir = store(tmp_path, StillClock())
    heir.scan()
    assert heir.ready("c") is None


def test_a_note_can_t_name_a_file_elsewhere(tmp_path: Path) -> None:
    kept = store(tmp_path, StillClock())
    save(kept, "c")
    path = tmp_path / "ram" / "c.json"
    note = msgspec.json.decode(path.read_bytes(), type=Note)
    path.write_bytes(msgspec.json.encode(replace(note, context="../../c")))
    heir = store(tmp_path, StillClock())
    heir.scan()
    assert not heir.notes


def test_neither_tier_holds_more_than_its_bound(tmp_path: Path) -> None:
    clock = StillClock()
    kept = store(tmp_path, clock, ram=3, disk=2)
    for number in range(12):
        clock.pass_s(1)
        save(kept, f"c{number}")
        for tier, most in (("ram", 3), ("disk", 2)):
            held = sum(path.stat().st_size for path in (tmp_path / tier).glob("*.kv"))
            assert held <= most * BYTES
    assert kept.bytes_in("ram") == 3 * BYTES
    assert kept.bytes_in("disk") == 2 * BYTES
    assert set(kept.notes) == names(tmp_path / "ram") | names(tmp_path / "disk")
    assert all(kept.ready(name) for name in tuple(kept.notes))


def test_what_goes_first_is_what_is_cheap_to_compute_and_long_unused(tmp_path: Path) -> None:
    clock = StillClock()
    kept = store(tmp_path, clock, ram=3, disk=0)
    save(kept, "dear", tokens=1_000)
    save(kept, "cheap", tokens=10)
    save(kept, "middle", tokens=100)
    clock.pass_s(5)
    save(kept, "new", tokens=100)
    assert set(kept.notes) == {"dear", "middle", "new"}
    clock.pass_s(1_000)
    assert kept.ready("middle") and kept.ready("new")
    clock.pass_s(1)
    save(kept, "newer", tokens=100)
    assert "dear" not in kept.notes, "long unused weighs more than dear"


def test_what_costs_less_to_compute_than_to_read_from_disk_does_not_go_there(
    tmp_path: Path,
) -> None:
    clock = StillClock()
    kept = store(tmp_path, clock, ram=1, disk=2)
    kept.disk_bytes_s = 1.0
    save(kept, "short", tokens=10)
    clock.pass_s(1)
    save(kept, "other", tokens=10)
    assert set(kept.notes) == {"other"}


def test_a_snapshot_larger_than_the_tier_is_not_asked_for(tmp_path: Path) -> None:
    kept = store(tmp_path, StillClock(), ram=1, disk=1)
    save(kept, "c")
    assert not kept.room(2 * BYTES)
    assert "c" in kept.notes
    assert kept.room(BYTES)
    assert kept.bytes_in("ram") == 0


def test_each_context_has_one_snapshot_and_erased_is_erased(tmp_path: Path) -> None:
    kept = store(tmp_path, StillClock())
    save(kept, "c", tokens=10)
    save(kept, "c", tokens=20)
    assert kept.notes["c"][1].tokens == 20
    assert names(tmp_path / "ram") == {"c"}
    kept.erase()
    assert not kept.notes
    assert not (tmp_path / "ram").exists()


def test_somebody_else_s_folder_is_not_ours(tmp_path: Path) -> None:
    assert own_folder(tmp_path / "mine")
    assert own_folder(tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    assert not own_folder(tmp_path / "link")


def slot_file(path: Path, words: list[int], magic: int = 0x67677371) -> Path:
    head = b"".join(word.to_bytes(4, "little") for word in (magic, 4, len(words)))
    path.write_bytes(head + b"".join(word.to_bytes(4, "little", signed=True) for word in words))
    return path


def test_the_token_ids_of_a_slot_s_file_are_read_in_both_layouts(tmp_path: Path) -> None:
    path = tmp_path / "slot"
    assert tokens_in(slot_file(path, [-1, 1, 3, 7, 8, 9, 0])) == (7, 8, 9)
    assert tokens_in(slot_file(path, [7, 8, 9])) == (7, 8, 9)


@pytest.mark.parametrize(
    "words", [[-1], [-1, 1], [-1, 1, 9, 5], [-1, 1, -4, 5], [5, -3], [-1, 1, 0, 5]]
)
def test_of_a_layout_that_nobody_knows_nothing_is_believed(
    tmp_path: Path, words: list[int]
) -> None:
    path = tmp_path / "slot"
    assert tokens_in(slot_file(path, words)) == ()
    assert tokens_in(slot_file(path, [1, 2], magic=5)) == ()
    path.write_bytes(slot_file(path, [1, 2, 3]).read_bytes()[:-2])
    assert tokens_in(path) == ()
    assert tokens_in(tmp_path / "missing") == ()
