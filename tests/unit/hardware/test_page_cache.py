"""What is said of the page cache, on a real disk."""

import os
from pathlib import Path

import pytest

from orlop.hardware.page_cache import WINDOW_BYTES, WINDOWS, cached_share, windows

SIZE = 3 << 20


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    """A file whose pages are on the disk, and can leave RAM; not every file system lets them."""
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(SIZE))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached_share(path) != 0.0:
        pytest.skip("this file system keeps its pages in RAM, or does not tell")
    return path


def test_what_was_just_read_lies_in_the_cache(on_disk: Path) -> None:
    on_disk.read_bytes()
    assert cached_share(on_disk) == 1.0


def test_looking_brings_nothing_into_the_cache(on_disk: Path) -> None:
    assert [cached_share(on_disk) for _ in range(3)] == [0.0] * 3


def test_half_a_file_is_about_a_half(on_disk: Path) -> None:
    with on_disk.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # Nothing is read ahead.
        os.pread(file.fileno(), SIZE // 2, 0)
    assert cached_share(on_disk) == pytest.approx(0.5, abs=0.1)


def test_of_a_file_that_is_not_there_or_empty_nobody_can_tell(tmp_path: Path) -> None:
    assert cached_share(tmp_path / "nothing") is None
    (tmp_path / "empty").write_bytes(b"")
    assert cached_share(tmp_path / "empty") is None


def test_a_file_of_somebody_else_is_not_asked_about(
    on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux would say of it that all of it is there."""
    monkeypatch.setattr(os, "geteuid", lambda: 4_242)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cached_share(on_disk) is None


def test_a_large_file_is_looked_at_in_windows_from_its_start_to_its_end() -> None:
    size = 40 << 30
    seen = windows(size)
    assert len(seen) == WINDOWS
    assert seen[0][0] == 0
    assert size - 2 * WINDOW_BYTES <= seen[-1][0] + WINDOW_BYTES <= size
    assert windows(1_000) == [(0, 1_000)]
