"""What a model's file must be before it is used."""

import os
from pathlib import Path

import pytest

from orlop.abi.errors import DeviceFailed
from orlop.devices.artefact import digest_of, remembered_digest, verified


def weights(folder: Path, content: bytes = b"GGUF and weights") -> Path:
    path = folder / "m.gguf"
    path.write_bytes(content)
    return path


def flip_a_bit(path: Path) -> None:
    """As a disk does it: no clock is told."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_file_that_is_not_the_wanted_one_is_refused(tmp_path: Path) -> None:
    path = weights(tmp_path)
    sha256 = verified(path)
    assert verified(path, sha256) == sha256
    with pytest.raises(DeviceFailed, match=r"m\.gguf is not what it was: its SHA-256 is"):
        verified(path, "0" * 64)


def test_a_bit_that_a_disk_flipped_is_found_though_size_and_time_are_as_they_were(
    tmp_path: Path,
) -> None:
    path = weights(tmp_path)
    sha256 = verified(path)
    flip_a_bit(path)
    assert digest_of(path) == sha256, "what is remembered does not tell"
    with pytest.raises(DeviceFailed, match=f"not {sha256[:12]}"):
        verified(path)
    flip_a_bit(path)
    assert verified(path) == sha256


def test_a_file_that_somebody_has_put_in_its_place_is_another_one(tmp_path: Path) -> None:
    before = verified(weights(tmp_path))
    path = weights(tmp_path, b"GGUF and other weights")
    after = verified(path)
    assert after != before
    assert remembered_digest(path) == after
