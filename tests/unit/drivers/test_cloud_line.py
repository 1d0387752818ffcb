"""The line for a provider's limits against clients that ask again for ever, in virtual time."""

from pathlib import Path
from statistics import geometric_mean

from bench.cloud_jobs import jobs, traces
from bench.cloud_virtual import pair

SEEDS = range(1, 9)


def test_jobs_are_as_soon_as_with_clients_that_never_give_up_and_nearly_nobody_is_refused() -> None:
    made_up = traces(Path("no traces here"))
    pairs = [pair(jobs(made_up, seed, 80, 5.0), seed) for seed in SEEDS]
    ratios = [one.off.mean_s / one.on.mean_s for one in pairs]
    assert geometric_mean(ratios) >= 1.0, ratios
    assert min(ratios) > 0.9, ratios
    assert sum(one.on.refused for one in pairs) < 0.01 * sum(one.on.calls for one in pairs)
    assert sum(one.off.refused for one in pairs) > 0.1 * sum(one.off.calls for one in pairs)
    assert all(one.on.lost == 0 < one.off.lost for one in pairs)
    assert all(abs(one.on.cached_share - one.off.cached_share) < 0.01 for one in pairs)
