"""Sagas on a database, while a real kernel is killed with SIGKILL at its fault points."""

import os
from pathlib import Path

import pytest
from crash.shoppers import KILLS_A_HOME, day

HOMES = -(-int(os.environ.get("ORLOP_CRASH_KILLS", "14")) // KILLS_A_HOME)


@pytest.mark.parametrize("seed", range(HOMES))
def test_what_a_saga_did_is_there_once_or_not_at_all(seed: int, tmp_path: Path) -> None:
    books = day(tmp_path, seed)
    assert books.sagas > 3 and books.effects > 10, books
    assert (books.doubled, books.lost, books.left) == (0, 0, 0), books
