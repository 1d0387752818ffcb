"""Keys are kept before they are used, for their owner alone."""

from pathlib import Path

import pytest

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import DEFAULT_TENANT, TenantId
from orlop.machine.chance import SeededChance, SystemChance
from orlop.store.keyring import Keyring, load_verifier


def test_a_tenant_s_key_is_the_same_in_the_next_life(tmp_path: Path) -> None:
    first = Keyring.create(tmp_path / "keys", SystemChance())
    key = first.of_tenant(DEFAULT_TENANT)
    again = Keyring.load(tmp_path / "keys", SystemChance())
    assert again.of_tenant(DEFAULT_TENANT) == key
    assert again.of_tenant(TenantId("other")).id == key.id + 1


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "keys", SystemChance())
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "keyring.json").stat().st_mode & 0o777 == 0o600


def test_the_number_of_a_forgotten_key_is_not_used_again(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "keys", SystemChance())
    old = ring.of_tenant(DEFAULT_TENANT)
    ring.forget(DEFAULT_TENANT)
    assert ring.by_id(old.id) is None
    new = ring.of_tenant(DEFAULT_TENANT)
    assert new.id > old.id and new.key != old.key


def test_keys_are_not_overwritten(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "keys", SystemChance())
    with pytest.raises(JournalStopped, match="not overwritten"):
        Keyring.create(tmp_path / "keys", SystemChance())


def test_a_torn_keyring_is_refused(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "keys", SystemChance())
    path = tmp_path / "keys" / "keyring.json"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(JournalStopped, match="can't be read"):
        Keyring.load(tmp_path / "keys", SystemChance())


def test_a_signature_is_checked_with_the_public_file_alone(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "keys", SystemChance())
    verifier = load_verifier(tmp_path / "keys")
    assert verifier is not None
    assert verifier.fits(ring.sign(b"words"), b"words")
    assert not verifier.fits(ring.sign(b"words"), b"other words")


def test_the_same_seed_gives_the_same_keys() -> None:
    rings = [Keyring.volatile(SeededChance(3)) for _ in range(2)]
    assert len({ring.of_tenant(DEFAULT_TENANT).key for ring in rings}) == 1
