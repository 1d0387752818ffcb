"""What an engine says of itself, and the seats that it has after that."""

from orlop.devices.device import Capacity, EngineLoad
from orlop.sched.gate import Gate


def gate_with(seats: int) -> Gate:
    return Gate(Capacity(slots=seats))


def test_a_look_that_is_heard_with_each_call_takes_seats_once() -> None:
    gate = gate_with(32)
    look = EngineLoad(running=20, waiting=5, seen_s=10.0)
    gate.heard(look, 10.0)
    assert gate.seats == 15
    gate.heard(look, 12.5)
    gate.heard(look, 14.9)
    assert gate.seats == 15


def test_a_look_that_is_heard_after_its_calls_have_ended_is_of_the_calls_that_ran_then() -> None:
    gate = gate_with(32)
    gate.heard(EngineLoad(running=24, waiting=9, seen_s=10.0), 13.0)
    assert gate.running == 0
    assert gate.seats == 18


def test_an_engine_that_lies_has_a_seat_at_least_and_no_more_than_it_offers() -> None:
    gate = gate_with(8)
    for moment in range(0, 100, 3):
        gate.heard(EngineLoad(running=0, waiting=1_000, seen_s=float(moment)), float(moment))
    assert gate.seats == 1
    gate = gate_with(8)
    gate.heard(EngineLoad(running=1_000_000, waiting=1_000, seen_s=0.0), 0.0)
    assert gate.seats == 6
