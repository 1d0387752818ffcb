"""The quick spelling and the `rfc8785` package agree on every JSON value."""

import math

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from orlop.wire.canonical import canonical

SAFE = 2**53 - 1
TEXTS = st.text(
    alphabet=st.one_of(
        st.characters(codec="utf-8"), st.sampled_from("\ufb33\uffff\U0001f600,:[1.e9")
    )
)
NUMBERS = st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_every_value_is_spelled_as_the_reference_spells_it(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives(value: float) -> None:
    assert math.isclose(float(canonical(value)), value, rel_tol=0, abs_tol=0)
