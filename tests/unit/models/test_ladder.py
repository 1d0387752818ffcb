"""Which rungs a ladder has for whom."""

import pytest

from orlop.abi.errors import Misconfigured
from orlop.abi.hints import Step
from orlop.models.ladder import LadderConfig, Rung, check, climb

LADDER = LadderConfig(rungs=("big", "small"), steps=("shrink", "down"), shrink_min=0.5, defer_s=60)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, [Rung("big", 0.5), Rung("small", 0.5, is_first=False)]),
        ((), [Rung("big")]),
        (("shrink",), [Rung("big", 0.5)]),
        (("down",), [Rung("big"), Rung("small", is_first=False)]),
        (("defer",), [Rung("big"), Rung("big", defer_s=60, is_first=False)]),
    ],
)
def test_callers_choose_among_the_steps(
    wanted: tuple[Step, ...] | None, expected: list[Rung]
) -> None:
    assert climb(LADDER, wanted) == expected


def test_a_rung_says_what_it_is_unless_it_is_what_was_asked_for() -> None:
    first, down = climb(LADDER, ("down",))
    assert first.named("") == ""
    assert down.named("big is busy") == "down to small: big is busy"


def test_a_ladder_has_a_name_of_its_own_and_models_for_rungs() -> None:
    check({"smart": LADDER}, ["other"])
    with pytest.raises(Misconfigured, match=r"models\.ladders\.smart: 'smart' is an alias"):
        check({"smart": LADDER}, ["smart"])
    with pytest.raises(Misconfigured, match="'low' is a ladder itself"):
        check({"low": LADDER, "high": LadderConfig(rungs=("low",))}, [])
