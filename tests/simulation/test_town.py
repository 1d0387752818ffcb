"""The whole kernel in virtual time.  `make simulate SEEDS=1000`; a failure names its seed."""

import os
from collections import Counter

import pytest
from simulation.mayhem import day
from simulation_loop import simulate

SEEDS = int(os.environ.get("ORLOP_SEEDS", "50"))
FIRST = int(os.environ.get("ORLOP_FIRST_SEED", "0"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_whatever_goes_wrong_nothing_is_lost_doubled_or_left_waiting(
    seed: int, seen: Counter[str]
) -> None:
    _, town = simulate(seed, day(seed))
    seen.update(days=1, kills=town.kills, kernels=town.lives)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_writes_the_same_journal(seed: int) -> None:
    first, _ = simulate(seed, day(seed))
    second, _ = simulate(seed, day(seed))
    assert first == second
