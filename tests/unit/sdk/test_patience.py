"""When a lost answer is asked for again, and when not."""

import pytest

from orlop.abi.errors import (
    DeviceFailed,
    Interrupted,
    JournalAway,
    JournalStopped,
    NoKernel,
    NotReady,
)
from orlop.abi.limits import CLIENT_PAUSE_S_MAX, JOURNAL_AWAY_S
from orlop.sdk.exchange import LostAnswer, Order
from orlop.sdk.patience import Patience
from orlop.sdk.place import Place

PLACE = Place(token="t", url="http://127.0.0.1:1")
CALL = Order("POST", "/orlop/v1/calls")
UNSENT = LostAnswer("refused", sent=False)
SENT = LostAnswer("reset", sent=True)


def test_pauses_double_up_to_a_limit() -> None:
    patience = Patience(PLACE, CALL, 30.0)
    pauses = [patience.after(UNSENT, 0.0) for _ in range(8)]
    assert pauses[:3] == [0.02, 0.04, 0.08]
    assert pauses[-1] == CLIENT_PAUSE_S_MAX


def test_an_order_that_was_never_sent_is_no_repeat() -> None:
    patience = Patience(PLACE, CALL, 30.0)
    patience.after(UNSENT, 0.0)
    assert not patience.again
    patience.after(SENT, 1.0)
    patience.after(UNSENT, 2.0)
    assert patience.again


def test_patience_ends_and_names_the_address() -> None:
    patience = Patience(PLACE, CALL, 30.0)
    patience.after(UNSENT, 100.0)
    patience.after(UNSENT, 129.0)
    with pytest.raises(NoKernel, match=r"127\.0\.0\.1:1: refused"):
        patience.after(UNSENT, 130.0)


def test_nobody_waits_for_a_kernel_that_nobody_would_start_again() -> None:
    lives = [True, False]
    patience = Patience(PLACE, CALL, 30.0, lambda: lives.pop(0))
    patience.after(UNSENT, 100.0)
    with pytest.raises(NoKernel):
        patience.after(UNSENT, 100.1)


def test_a_long_attempt_that_failed_late_begins_a_new_row() -> None:
    patience = Patience(PLACE, CALL, 30.0)
    patience.after(SENT, 100.0)
    assert patience.after(SENT, 500.0) == 0.02


def test_what_cannot_be_repeated_is_reported_as_unknown() -> None:
    patience = Patience(PLACE, Order("POST", "/orlop/v1/keys", repeatable=False), 30.0)
    patience.after(UNSENT, 0.0)
    with pytest.raises(Interrupted, match="POST /orlop/v1/keys"):
        patience.after(SENT, 1.0)


def test_a_starting_kernel_is_waited_for_as_long_as_it_says() -> None:
    patience = Patience(PLACE, CALL, 30.0)
    assert patience.after(NotReady("starting", retry_after_s=0.25), 0.0) == 0.25
    assert not patience.again


@pytest.mark.parametrize("error", [DeviceFailed("gone"), JournalStopped("disk full")])
def test_other_errors_are_the_callers(error: DeviceFailed | JournalStopped) -> None:
    with pytest.raises(type(error)):
        Patience(PLACE, CALL, 30.0).after(error, 0.0)


def test_an_agent_waits_for_its_kernel_s_database_and_a_person_is_told_at_once() -> None:
    away = JournalAway("PostgreSQL is away", retry_after_s=2.0)
    with pytest.raises(JournalAway):
        Patience(PLACE, CALL, 30.0).after(away, 0.0)
    patience = Patience(PLACE, CALL, 30.0, is_agent=True)
    assert patience.after(away, 0.0) == CLIENT_PAUSE_S_MAX
    assert patience.again  # The commit whose answer was lost may have happened.
    for second in range(1, int(JOURNAL_AWAY_S)):
        patience.after(away, float(second))
    with pytest.raises(JournalAway):
        patience.after(away, JOURNAL_AWAY_S)
    once = Order("POST", "/orlop/v1/keys", repeatable=False)
    with pytest.raises(JournalAway):
        Patience(PLACE, once, 30.0, is_agent=True).after(away, 0.0)


@pytest.mark.parametrize("limit_s", [0.0, 0.1])
def test_little_patience_ends_also_where_pauses_are_longer(limit_s: float) -> None:
    away = JournalAway("PostgreSQL is away", retry_after_s=2.0)
    patience = Patience(PLACE, CALL, limit_s, is_agent=True)
    with pytest.raises(JournalAway):
        for second in range(1_000):
            patience.after(away, float(second))
    # Who has none is told at once.
    with pytest.raises(JournalAway):
        Patience(PLACE, CALL, 0.0, is_agent=True).after(away, 0.0)


def test_a_kernel_that_stops_and_that_nobody_starts_again_is_no_kernel() -> None:
    patience = Patience(PLACE, CALL, 30.0, lambda: False)
    with pytest.raises(NoKernel, match=r"127\.0\.0\.1:1: the kernel is stopping"):
        patience.after(NotReady("the kernel is stopping", retry_after_s=1.0), 0.0)
