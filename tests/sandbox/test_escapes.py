"""Every way out that we know, tried in each tier that works here."""

from collections.abc import Iterator

import pytest
from bench.escapes import ATTEMPTS, Attempt, Prey, gets_out, prey
from live_sandbox import FOUND

from orlop.sandbox import tiers
from orlop.sandbox.plan import Tier


@pytest.fixture(scope="module")
def outside() -> Iterator[Prey]:
    with prey() as found:
        yield found


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda one: f"{one.group}-{one.name}")
@pytest.mark.parametrize("tier", tiers.TIERS)
def test_nothing_gets_out_of_a_sandbox(tier: Tier, attempt: Attempt, outside: Prey) -> None:
    if not FOUND[tier].works:
        pytest.skip(FOUND[tier].reason)
    got_out, said = gets_out(attempt, outside, tier)
    assert not got_out, said


def test_the_attempts_are_real_without_a_sandbox_most_of_them_get_out() -> None:
    plain = [one for one in ATTEMPTS if one.outside and one.group in ("files", "links")]
    with prey() as outside:
        got_out = [one.name for one in plain if gets_out(one, outside, None)[0]]
    assert len(got_out) > 0.8 * len(plain), got_out
