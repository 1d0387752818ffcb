"""Canonical JSON by RFC 8785's own examples."""

import msgspec
import pytest

from orlop.abi.errors import BadCall
from orlop.wire.canonical import canonical


def test_the_rfc_s_example_is_spelled_as_in_the_rfc() -> None:
    value = msgspec.json.decode(
        b'{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        b'"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/",'
        b'"literals":[null,true,false]}'
    )
    assert canonical(value) == (
        b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_as_utf_16_sorts_them() -> None:
    assert canonical({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


def test_numbers_are_spelled_as_javascript_spells_them() -> None:
    assert canonical([1.0, 1e21, 1e-7, -0.0, 10]) == b"[1,1e+21,1e-7,0,10]"


def test_raw_json_inside_a_struct_is_spelled_anew() -> None:
    class Holder(msgspec.Struct):
        raw: msgspec.Raw

    assert canonical(Holder(msgspec.Raw(b'{"b": 1, "a": 2}'))) == b'{"raw":{"a":2,"b":1}}'


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, 10**30])
def test_integers_past_what_the_rfc_can_spell_are_spelled_exactly(number: int) -> None:
    assert canonical([1, {"maximum": number}]) == b'[1,{"maximum":%d}]' % number


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}])
def test_what_has_no_exact_spelling_is_refused(value: object) -> None:
    with pytest.raises(BadCall, match="no canonical JSON"):
        canonical(value)


def test_what_is_nested_too_deep_is_refused() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadCall, match="no canonical JSON"):
        canonical(value)
