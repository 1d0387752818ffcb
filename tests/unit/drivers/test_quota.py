"""A provider's limits in virtual time: what is learned, who waits, who goes next."""

import asyncio

import pytest
from simulation.power import LoopClock
from simulation_loop import simulate

from orlop.abi.errors import DeviceBusy
from orlop.abi.ids import EngineName
from orlop.drivers.quota import Quota

NAME = EngineName("cloud")


CLOCK = LoopClock()


def quota(requests: int = 0, tokens: int = 0) -> Quota:
    return Quota(NAME, CLOCK, requests=requests, tokens=tokens)


def told(limit: int, left: int) -> dict[str, str]:
    return {
        "anthropic-ratelimit-input-tokens-limit": str(limit),
        "anthropic-ratelimit-input-tokens-remaining": str(left),
    }


async def admitted(limits: Quota, tokens: float, urgency: int = 0) -> float:
    """When it was let on."""
    await limits.admit(tokens, urgency, 600.0)
    return CLOCK.now_s()


def test_without_any_word_of_limits_nobody_waits() -> None:
    async def scenario() -> None:
        limits = quota()
        assert [await admitted(limits, 10_000) for _ in range(50)] == [0.0] * 50

    simulate(1, scenario())


def test_tokens_beyond_a_minute_s_worth_wait_until_they_are_there() -> None:
    async def scenario() -> None:
        limits = quota(tokens=6_000)
        times = await asyncio.gather(*(admitted(limits, 3_000) for _ in range(4)))
        assert sorted(times) == pytest.approx([0, 0, 30, 60], abs=0.01)

    simulate(1, scenario())


def test_requests_are_limited_too() -> None:
    async def scenario() -> None:
        limits = quota(requests=60)
        times = await asyncio.gather(*(admitted(limits, 1) for _ in range(63)))
        assert sorted(times)[-3:] == pytest.approx([1, 2, 3], abs=0.01)

    simulate(1, scenario())


@pytest.mark.parametrize(
    "headers",
    [
        told(6_000, 3_000),
        {"x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "3000"},
    ],
)
def test_limits_are_learned_from_headers_of_either_family(headers: dict[str, str]) -> None:
    async def scenario() -> None:
        limits = quota()
        limits.heard(200, headers)
        assert limits.limit("tokens") == 6_000
        assert await admitted(limits, 3_000) < 31
        assert await admitted(limits, 3_000) >= 29

    simulate(1, scenario())


@pytest.mark.parametrize("lie", ["-5", "nan", "inf", "1e99", "many", ""])
def test_limits_that_can_not_be_true_are_no_limits(lie: str) -> None:
    async def scenario() -> None:
        limits = quota()
        limits.heard(200, {"x-ratelimit-limit-tokens": lie, "x-ratelimit-remaining-tokens": lie})
        assert limits.limit("tokens") is None
        assert await admitted(limits, 1e6) == 0.0

    simulate(1, scenario())


def test_nobody_is_let_on_before_the_time_that_a_refusal_names() -> None:
    async def scenario() -> None:
        limits = quota(tokens=6_000)
        limits.heard(429, {**told(6_000, 6_000), "retry-after": "17"})
        times = await asyncio.gather(*(admitted(limits, 10) for _ in range(3)))
        assert times == pytest.approx([17, 17, 17])
        assert limits.refusals == 1

    simulate(1, scenario())


def test_where_no_header_tells_it_a_refusal_does_and_the_guess_grows_again() -> None:
    async def scenario() -> None:
        limits = quota()
        for _ in range(20):
            await admitted(limits, 100)
        limits.heard(429, {})
        assert limits.limit("requests") == pytest.approx(18)
        assert limits.limit("tokens") == pytest.approx(1_800)
        for _ in range(3):
            await asyncio.sleep(61)
            limits.heard(200, {})
        assert limits.limit("requests") == pytest.approx(18 * 1.05**3)
        limits.heard(200, {"x-ratelimit-limit-requests": "500"})
        assert limits.limit("requests") == 500

    simulate(1, scenario())


def test_the_most_urgent_goes_next_then_who_takes_least() -> None:
    async def scenario() -> None:
        limits = quota(tokens=600)
        await limits.admit(600, 0, 600.0)
        order: list[str] = []

        async def one(name: str, tokens: float, urgency: int) -> None:
            await limits.admit(tokens, urgency, 6_000.0)
            order.append(name)

        waiting = [("large", 300, 0), ("batch", 5, 2), ("small", 10, 0), ("middle", 100, 0)]
        await asyncio.gather(*(one(*each) for each in waiting))
        assert order == ["small", "middle", "large", "batch"]

    simulate(1, scenario())


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_of_small_calls_does_not_keep_a_large_one_waiting_for_ever(seed: int) -> None:
    async def scenario() -> None:
        limits = quota(tokens=6_000)
        await limits.admit(6_000, 0, 600.0)
        large = asyncio.ensure_future(limits.admit(2_000, 0, 10_000.0))
        small = []
        while not large.done():
            assert CLOCK.now_s() < 600
            small.append(asyncio.ensure_future(limits.admit(60, 0, 10_000.0)))
            await asyncio.sleep(0.5)  # More than the limit allows.
        await asyncio.gather(*small)

    simulate(seed, scenario())


def test_a_call_that_can_not_go_in_time_is_told_so_at_once_and_when() -> None:
    async def scenario() -> None:
        limits = quota(tokens=600)
        await limits.admit(600, 0, 1.0)
        with pytest.raises(DeviceBusy, match="600 tokens a minute") as raised:
            await limits.admit(300, 0, 20.0)
        assert raised.value.retry_after_s == pytest.approx(30)
        assert CLOCK.now_s() == 0.0

    simulate(1, scenario())


def test_who_leaves_while_waiting_takes_nothing() -> None:
    async def scenario() -> None:
        limits = quota(tokens=600)
        await limits.admit(600, 0, 1.0)
        first = asyncio.ensure_future(limits.admit(300, 0, 100.0))
        second = asyncio.ensure_future(admitted(limits, 300))
        await asyncio.sleep(1)
        first.cancel()
        assert await second == pytest.approx(30, abs=0.01)
        await limits.close()

    simulate(1, scenario())


def test_a_bucket_holds_no_more_than_the_provider_ever_had_left() -> None:
    """Many let a minute's allowance be spent over a minute only."""

    async def scenario() -> None:
        limits = quota()
        limits.heard(200, told(6_000, 600))
        await asyncio.sleep(120)
        times = await asyncio.gather(*(admitted(limits, 600) for _ in range(3)))
        assert sorted(times) == pytest.approx([120, 126, 132], abs=0.01)

    simulate(1, scenario())


def test_who_asks_again_the_moment_he_was_let_on_waits_his_turn_again() -> None:
    async def scenario() -> None:
        limits = quota(tokens=600)
        await limits.admit(600, 0, 1.0)
        assert [await admitted(limits, 10) for _ in range(3)] == pytest.approx([1, 2, 3], abs=0.01)

    simulate(1, scenario())


def test_small_calls_pass_a_large_one_that_has_waited_for_some_seconds() -> None:
    async def scenario() -> None:
        limits = quota(tokens=6_000)
        await limits.admit(6_000, 0, 600.0)
        large = asyncio.ensure_future(admitted(limits, 1_000))  # Ten seconds' worth.
        await asyncio.sleep(5)
        assert await admitted(limits, 50) == pytest.approx(5, abs=0.01)
        assert await large == pytest.approx(10.5, abs=0.01)

    simulate(1, scenario())


def test_a_refusal_that_what_is_left_explains_holds_up_nobody_else() -> None:
    async def scenario() -> None:
        limits = quota()
        limits.heard(200, told(60_000, 6_000))
        leave = await limits.admit(500, 0, 600.0)
        limits.heard(429, {**told(60_000, 450), "retry-after": "9"}, leave)
        assert leave.is_refused and leave.is_explained
        assert await admitted(limits, 100) == 0.0
        leave = await limits.admit(10, 0, 600.0)
        limits.heard(429, {**told(60_000, 5_900), "retry-after": "9"}, leave)
        assert leave.is_refused and not leave.is_explained
        assert await admitted(limits, 10) == pytest.approx(9)

    simulate(1, scenario())


def test_an_overloaded_provider_is_left_alone_for_as_long_as_it_says() -> None:
    async def scenario() -> None:
        limits = quota()
        limits.heard(529, {"retry-after": "4"})
        assert await admitted(limits, 10) == pytest.approx(4)
        assert limits.refusals == 0
        assert limits.limit("tokens") is None

    simulate(1, scenario())


@pytest.mark.parametrize(("left", "next_at_s"), [(5_000, 0.0), (4_600, 0.0), (2_100, 29.0)])
def test_only_what_our_own_calls_do_not_explain_is_news(left: int, next_at_s: float) -> None:
    """The provider may have looked before a call that we have sent since, or after."""

    async def scenario() -> None:
        limits = quota()
        limits.heard(200, told(6_000, 6_000))
        first = await limits.admit(1_000, 0, 600.0)
        await limits.admit(400, 0, 600.0)
        limits.heard(200, told(6_000, left), first)
        assert await admitted(limits, 4_600 if next_at_s == 0 else 5_000) == pytest.approx(
            next_at_s, abs=0.01
        )

    simulate(1, scenario())


def test_what_is_left_in_whole_thousands_is_not_taken_for_exact() -> None:
    async def scenario() -> None:
        limits = quota(tokens=60_000)
        limits.heard(200, told(60_000, 60_000))
        leave = await limits.admit(400, 0, 600.0)
        limits.heard(200, told(60_000, 60_000), leave)
        limits.heard(200, told(60_000, 59_000), leave)
        assert await admitted(limits, 59_500) == 0.0

    simulate(1, scenario())


def test_who_waits_before_a_call_is_counted_when_it_asks_whether_it_can_go_in_time() -> None:
    async def scenario() -> None:
        limits = quota(tokens=600)
        await limits.admit(600, 0, 1.0)
        waiting = [asyncio.ensure_future(limits.admit(100, 0, 36.0)) for _ in range(3)]
        await asyncio.sleep(0.001)
        with pytest.raises(DeviceBusy) as raised:
            await limits.admit(100, 0, 36.0)
        assert raised.value.retry_after_s == pytest.approx(40, abs=0.1)
        await limits.admit(100, -1, 36.0)
        await asyncio.gather(*waiting)

    simulate(1, scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-reset-tokens": "5s"},
        {"x-ratelimit-reset-tokens": "4s999ms"},
        {
            "anthropic-ratelimit-input-tokens-reset": "2026-11-22T03:00:04Z",
            "date": "Sun, 22 Nov 2026 02:59:59 GMT",
        },
    ],
)
def test_what_a_bucket_holds_is_known_from_when_it_will_be_full(headers: dict[str, str]) -> None:
    async def scenario() -> None:
        limits = quota()
        limits.heard(200, {**told(6_000, 100), **headers})  # So it holds about 500.
        assert await admitted(limits, 400) == pytest.approx(3, abs=0.1)

    simulate(1, scenario())


@pytest.mark.parametrize("lie", ["", "soon", "5 parsecs", "-5s", "1e9", "2026-13-45T99:00:00Z"])
def test_a_time_that_can_not_be_read_tells_nothing(lie: str) -> None:
    async def scenario() -> None:
        limits = quota()
        reset = {"anthropic-ratelimit-input-tokens-reset": lie, "date": lie}
        limits.heard(200, {**told(6_000, 100), **reset})
        assert await admitted(limits, 400) == 0.0  # More than it ever held, so it goes when full.

    simulate(1, scenario())
