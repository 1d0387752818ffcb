"""Sagas while kernels are killed: nothing twice, nothing of a saga that was given up left over."""

import os

import pytest
from simulation import saga_town

SEEDS = int(os.environ.get("ORLOP_SEEDS", "50"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_saga_happens_whole_or_not_at_all_whenever_the_kernel_dies(seed: int) -> None:
    saga_town.run(seed)
