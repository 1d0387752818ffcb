"""What a later incarnation is answered from."""

import pytest

from orlop.abi.errors import DeviceFailed, Interrupted, Killed
from orlop.abi.ids import Digest, Seq
from orlop.state.record import Recorded, build, is_told

ASKED = Digest(bytes(32))


def call(intent: int, *, ok: bool, told: bool = True) -> Recorded:
    return Recorded(Seq(intent), ASKED, 1, Seq(intent + 1), ok, told)


def test_a_replay_gives_back_the_errors_that_the_program_heard() -> None:
    record = build([call(1, ok=False)], "replay", False, 2, set(), [])
    assert record.take(ASKED) == call(1, ok=False)


def test_a_replay_skips_the_end_of_a_call_that_nobody_heard_of() -> None:
    past = [call(1, ok=False, told=False), call(3, ok=True)]
    record = build(past, "replay", False, 2, set(), [])
    assert record.take(ASKED) == call(3, ok=True)


def test_a_resume_runs_what_failed_again() -> None:
    record = build([call(1, ok=False)], "resume", False, 2, set(), [])
    assert record.take(ASKED) is None
    assert record.take_unfinished(ASKED)


@pytest.mark.parametrize(
    ("code", "told"), [(Interrupted.code, False), (Killed.code, False), (DeviceFailed.code, True)]
)
def test_who_is_gone_hears_nothing(code: str, told: bool) -> None:
    assert is_told(code) == told
