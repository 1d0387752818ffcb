"""What takes a device's work away, and what gives it back."""

from orlop.abi.devices import Reading
from orlop.hardware import health
from orlop.hardware.health import HEALTHY, Condition

COOL = Reading(clock_share=1.0, memory_errors=0, memory_errors_corrected=0)


def after(condition: Condition, *readings: Reading) -> Condition:
    for reading in readings:
        condition = health.looked(condition, reading)
    return condition


def test_a_device_that_is_hot_for_two_looks_loses_what_its_clock_has_lost() -> None:
    hot = Reading(clock_share=0.25, throttled=("heat",))
    assert after(HEALTHY, hot).health == "ready"
    throttled = after(HEALTHY, hot, hot)
    assert (throttled.health, throttled.share) == ("degraded", 0.25)
    assert throttled.reason == "throttled to 25% of its clock: heat"


def test_it_gets_its_work_back_after_three_cool_looks() -> None:
    hot = Reading(clock_share=0.25, throttled=("heat",))
    throttled = after(HEALTHY, hot, hot)
    assert after(throttled, COOL, COOL).health == "degraded"
    assert after(throttled, COOL, COOL, COOL).health == "ready"
    assert after(throttled, COOL, COOL, hot, hot, COOL, COOL).health == "degraded"


def test_a_throttled_device_that_does_not_tell_its_clock_gets_half() -> None:
    hot = Reading(throttled=("heat",))
    assert after(HEALTHY, hot, hot).share == 0.5


def test_memory_errors_drain_a_device_for_good() -> None:
    broken = after(HEALTHY, COOL, Reading(memory_errors=2), *[COOL] * 10)
    assert (broken.health, broken.share) == ("drained", 0.0)
    assert "2 memory errors" in broken.reason
    assert health.given_back(broken).health == "ready"


def test_errors_from_before_the_first_look_are_no_news() -> None:
    old = Reading(memory_errors=7)
    assert after(HEALTHY, old, old).health == "ready"


def test_rows_that_wait_for_a_reset_drain_it() -> None:
    assert after(HEALTHY, Reading(memory_broken="needs a reset")).health == "drained"


def test_many_corrected_errors_take_half() -> None:
    errors = after(HEALTHY, COOL, Reading(memory_errors_corrected=500))
    assert (errors.health, errors.share) == ("degraded", 0.5)


def test_running_out_of_memory_halves_its_work_each_time_down_to_a_rest() -> None:
    shares, condition = list[float](), HEALTHY
    for _ in range(5):
        condition = health.ran_full(condition, "CUDA out of memory")
        shares.append(condition.share)
    assert shares == [0.5, 0.25, 0.125, 0.125, 0.125]
    assert after(condition, COOL, COOL, COOL).health == "ready"


def test_speed_is_judged_over_several_calls() -> None:
    condition = HEALTHY
    for _ in range(health.CALLS_JUDGED_MIN - 1):
        condition = health.timed(condition, 0.3)
    assert condition.health == "ready"
    slow = health.timed(condition, 0.3)
    assert slow.health == "degraded"
    assert 0.29 < slow.share < 0.31
    # Looks say nothing of speed; fast calls do.
    assert after(slow, COOL, COOL, COOL, COOL).health == "degraded"
    for _ in range(40):
        slow = health.timed(slow, 1.0)
    assert slow.health == "ready"


def test_a_device_that_is_not_there_is_lost_until_it_is_seen_again() -> None:
    lost = health.lost(HEALTHY, "GPU is lost")
    assert (lost.health, lost.share, lost.reason) == ("lost", 0.0, "GPU is lost")
    assert after(lost, COOL).health == "ready"


def test_what_an_operator_has_drained_stays_so_when_it_is_lost_and_found() -> None:
    drained = health.drained(HEALTHY, "its fan is changed")
    assert after(health.lost(drained, "gone"), COOL).health == "drained"
