"""Schemas of tools: what breaks one is named, and what could take long is refused."""

from collections.abc import Mapping

import pytest

from orlop.abi.errors import BadCall
from orlop.tools.schema import Schema, measure

TREE = {
    "type": "object",
    "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": {"type": "integer"}},
}


def doubling(times: int) -> dict[str, object]:
    """A small schema whose check takes 2 ** times steps."""
    definitions: dict[str, object] = {f"d{times}": {}}
    for n in range(times):
        definitions[f"d{n}"] = {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2}
    return {"$ref": "#/$defs/d0", "$defs": definitions}


def chain(length: int) -> dict[str, object]:
    tree: dict[str, object] = {"value": "no integer"}
    for _ in range(length):
        tree = {"left": tree}
    return tree


def test_what_is_wrong_is_said_with_its_place() -> None:
    schema = Schema({"properties": {"lines": {"items": {"type": "integer"}}}})
    assert schema.wrong({"lines": [1, 2]}) == ""
    assert schema.wrong({"lines": [1, "x"]}) == '/lines/1: "x" is not of type "integer"'


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(Schema({"type": "integer"}).wrong("x" * 100_000)) < 400


def test_no_schema_allows_anything() -> None:
    assert Schema({}).wrong({"any": ["thing", None]}) == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/absent"},
        {"$dynamicRef": "#node"},
        {"pattern": "(?=lookahead)"},
        {"$schema": "http://unknown.example/"},
        doubling(30),
    ],
    ids=["type", "http", "file", "absent", "moving", "pattern", "dialect", "doubling"],
)
def test_a_schema_that_is_wrong_reaches_out_or_takes_too_long_is_refused(
    schema: Mapping[str, object],
) -> None:
    with pytest.raises(BadCall):
        Schema(schema)


def test_a_schema_may_refer_to_itself_and_to_its_definitions() -> None:
    assert Schema(TREE).wrong(chain(3)).startswith("/left/left/left/value: ")
    shared = {"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}
    assert Schema(shared).wrong([1]) == ""


def test_a_value_that_would_double_the_steps_too_often_is_refused_before_it_is_checked() -> None:
    assert "SCHEMA_STEPS_MAX" in Schema(TREE).wrong(chain(60))


def test_a_pattern_that_others_take_for_ever_on_is_nothing_special() -> None:
    assert Schema({"pattern": "^(a+)+$"}).wrong("a" * 50_000 + "b")


def test_values_are_counted_with_all_that_they_hold() -> None:
    assert measure(7) == (1, 0)
    assert measure({"a": [1, 2], "b": {}}) == (5, 2)
