"""The bound on a share: exact, and right as often as it says."""

import random

import pytest

from orlop.people.confidence import confidence_at, look, lower_bound, next_look


@pytest.mark.parametrize(
    ("agreed", "judged", "confidence", "bound"),
    [
        (20, 20, 0.95, 0.05 ** (1 / 20)),
        (29, 29, 0.95, 0.05 ** (1 / 29)),
        (1, 1, 0.95, 0.05),
        (9, 10, 0.95, 0.605847),  # Beta(9, 2) at 5 %.
        (38, 40, 0.95, 0.850769),
        (0, 10, 0.95, 0.0),
        (0, 0, 0.95, 0.0),
    ],
)
def test_it_is_the_bound_of_clopper_and_pearson(
    agreed: int, judged: int, confidence: float, bound: float
) -> None:
    assert lower_bound(agreed, judged, confidence) == pytest.approx(bound, abs=2e-4)


def test_it_rises_with_evidence_and_falls_with_doubt() -> None:
    assert lower_bound(20, 20, 0.95) < lower_bound(40, 40, 0.95)
    assert lower_bound(39, 40, 0.95) < lower_bound(40, 40, 0.95)
    assert lower_bound(40, 40, 0.99) < lower_bound(40, 40, 0.95)


def test_looks_come_at_doublings_and_their_doubts_add_up_to_what_was_allowed() -> None:
    assert [judged for judged in range(1, 200) if look(judged, 20) is not None] == [
        20, 40, 80, 160,
    ]  # fmt: skip
    assert [look(judged, 20) for judged in (20, 40, 80)] == [0, 1, 2]
    assert [next_look(judged, 20) for judged in (0, 19, 20, 79)] == [20, 20, 40, 80]
    assert sum(1 - confidence_at(number, 0.95) for number in range(60)) == pytest.approx(0.05)


def test_agents_that_are_not_good_enough_are_promoted_as_seldom_as_promised() -> None:
    """Many agents whose true share is just what is asked for, looked at again and again."""
    chance, wrongly, agents = random.Random(7), 0, 400
    for _ in range(agents):
        agreed = 0
        for judged in range(1, 161):
            agreed += chance.random() < 0.9
            number = look(judged, 20)
            if number is not None:
                bound = lower_bound(agreed, judged, confidence_at(number, 0.95))
                if bound > 0.9:
                    wrongly += 1
                    break
    # At most 5 % are expected, 20 of 400; four standard deviations more would be no accident.
    assert wrongly <= 20 + 4 * 4.4
