"""Python functions as tools: cards from types, and what has no card."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

import orlop
from orlop.abi.errors import BadCall
from orlop.sdk.functions import Described
from orlop.tools.schema import Schema
from orlop.tools.template import filled, roots


@dataclass
class Item:
    name: str
    count: Annotated[int, Meta(ge=1)] = 1


def order(
    items: list[Item], speed: Literal["slow", "fast"] = "slow", note: str | None = None
) -> dict[str, int]:
    """Orders things.

    At once.
    """
    return {item.name: item.count for item in items}


def test_a_card_is_made_of_types_and_docstring() -> None:
    described = Described(order)
    assert described.description == "Orders things.\n\nAt once."
    arguments = Schema(described.parameters)
    assert not arguments.wrong({"items": [{"name": "tea"}], "speed": "fast", "note": None})
    for wrong in (
        {},
        {"items": [{"count": 1}]},
        {"items": [{"name": "tea", "count": 0}]},
        {"items": [], "speed": "soon"},
        {"items": [], "more": 1},
    ):
        assert arguments.wrong(wrong), wrong
    assert Schema(described.results).wrong({"tea": "two"})
    card = described.card({"effect": "pure", "concurrency": 3})
    assert (card.name, card.effect, card.concurrency) == ("order", "pure", 3)


def test_arguments_arrive_as_their_types_and_results_leave_as_json() -> None:
    described = Described(order)
    items = [{"name": "tea", "count": 2}, {"name": "milk"}]
    assert asyncio.run(described.call({"items": items}, "k")) == {"tea": 2, "milk": 1}
    with pytest.raises(BadCall, match="items"):
        asyncio.run(described.call({"items": 7}, "k"))


def test_the_effects_key_is_known_inside_and_only_there() -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return orlop.effect_key()

    def now() -> str:
        return orlop.effect_key()

    assert asyncio.run(Described(later).call({}, "cal_1")) == "cal_1"
    assert Described(now).run({}, "cal_2") == "cal_2"
    assert orlop.effect_key() == ""


def test_what_has_no_schema_is_refused_by_name() -> None:
    def many(*words: str) -> None: ...

    def some(**words: str) -> None: ...

    def odd(where: type[asyncio.Event] | asyncio.Event) -> None: ...

    def by_place(word: str, /) -> None: ...

    for function in (many, some, odd, by_place):
        with pytest.raises(BadCall, match=function.__name__):
            Described(function)


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        Described(order).card({"effect": "harmless"})  # type: ignore[typeddict-item]


CALL = {
    "arguments": {"to": "Lima", "seats": [1, 2]},
    "result": {"id": 7, "rows": [{"n": 1}]},
    "key": "k",
}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{result.id}", 7),
        ("{arguments}", CALL["arguments"]),
        ("no. {result.id} to {arguments.to}", "no. 7 to Lima"),
        ({"a": ["{result.rows.0.n}", 5], "b": "{{x} {key}"}, {"a": [1, 5], "b": "{x} k"}),
        ("seats {arguments.seats}", "seats [1,2]"),
    ],
)
def test_a_template_takes_values_from_a_call(template: object, made: object) -> None:
    assert filled(template, CALL) == made


@pytest.mark.parametrize("template", ["{result.name}", "{result.rows.1}", "{result.id.x}"])
def test_a_place_that_is_not_there_is_named(template: str) -> None:
    with pytest.raises(BadCall, match="there is no"):
        filled(template, CALL)


def test_a_place_that_can_not_exist_is_refused_beforehand() -> None:
    assert roots({"a": "{result.id} {key}", "b": 7}) == {"result", "key"}
    with pytest.raises(BadCall, match="begins with none"):
        roots("{outcome.id}")
