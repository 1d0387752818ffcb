"""A context as text comes back as it was, into the same model only, never with a bit changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall
from orlop.abi.messages import Message, Text, ToolSpec, ToolUse
from orlop.context.snapshot import Fingerprint, pack, unpack
from orlop.devices.device import Partial

OWN = Fingerprint(model="m", artefact="a" * 64, tokenizer="b" * 64)
WORDS = st.text(max_size=20)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.none() | WORDS | st.tuples(st.builds(Text, text=WORDS)),
    tool_uses=st.lists(st.builds(ToolUse, id=WORDS, name=WORDS), max_size=2).map(tuple),
)
CALLS = st.builds(
    Infer,
    model=st.just("m"),
    messages=st.lists(MESSAGES, max_size=4).map(tuple),
    prompt=st.none() | WORDS | st.lists(st.integers(0, 50_000), max_size=5).map(tuple),
    tools=st.lists(st.builds(ToolSpec, name=WORDS), max_size=2).map(tuple),
)
PARTIALS = st.builds(
    Partial,
    text=WORDS,
    tokens=st.lists(st.integers(0, 50_000), max_size=5).map(tuple),
    deltas=st.integers(0, 9),
)


@given(CALLS, PARTIALS)
def test_it_comes_back_as_it_was_and_is_the_same_bytes_each_time(
    call: Infer, so_far: Partial
) -> None:
    data = pack(call, so_far, OWN)
    assert unpack(data, OWN) == (call, so_far)
    assert pack(*unpack(data, OWN), OWN) == data


@given(CALLS, PARTIALS, st.data())
def test_any_flipped_bit_is_refused(call: Infer, so_far: Partial, draw: st.DataObject) -> None:
    data = bytearray(pack(call, so_far, OWN))
    data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(BadCall):
        unpack(bytes(data), OWN)


@pytest.mark.parametrize(
    "other",
    [
        Fingerprint(model="n", artefact="a" * 64, tokenizer="b" * 64),
        Fingerprint(model="m", artefact="c" * 64, tokenizer="b" * 64),
        Fingerprint(model="m", artefact="a" * 64),
    ],
    ids=["name", "weights", "tokenizer"],
)
def test_it_goes_into_no_other_model(other: Fingerprint) -> None:
    data = pack(Infer(model="m", prompt="x"), Partial("y", (1, 2), 1), OWN)
    with pytest.raises(BadCall, match="is of `m` aaaaaaaaaaaa"):
        unpack(data, other)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format":2,"sha256":"","body":{}}'])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(BadCall):
        unpack(data, OWN)
