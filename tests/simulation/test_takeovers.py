"""Machines on one database are lost and cut off: nothing twice, nothing lost, everybody served."""

import os

import pytest
from simulation import two_towns

SEEDS = int(os.environ.get("ORLOP_SEEDS", "50"))
FIRST_SEED = int(os.environ.get("ORLOP_FIRST_SEED", "0"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_processes_move_between_machines_and_nothing_is_done_twice(seed: int) -> None:
    two_towns.run(seed)
