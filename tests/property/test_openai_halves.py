"""OpenAI's dialect: what one half writes the other reads, whole or in pieces, and nothing else."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from openai_calls import CALL, chat_calls, streams, text_calls

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall, DeviceFailed, KernelError, NotReady
from orlop.abi.ids import EngineName
from orlop.abi.replies import Completion, Delta, Generated
from orlop.wire.openai import (
    read_chat_request,
    read_chat_response,
    write_chat_request,
    write_chat_response,
)
from orlop.wire.openai_embed import read_embed_request, read_embed_response, read_models
from orlop.wire.openai_legacy import (
    TextStream,
    read_text_request,
    write_text_request,
    write_text_response,
)
from orlop.wire.openai_stream import ChatStream, ChatStreamReader
from orlop.wire.openai_terms import ReplyHead

HEAD = ReplyHead(call=CALL, created_s=1_760_000_000, model="small-q4")


def said(completion: Completion) -> Generated:
    """What a client can know of it."""
    return Generated(
        choices=completion.choices,
        usage=completion.usage,
        model=completion.model,
        fingerprint=completion.fingerprint,
        extra=completion.extra,
    )


def fed(pieces: Sequence[bytes]) -> tuple[list[Delta], Generated]:
    reader = ChatStreamReader()
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    return deltas, reader.finish()


def cut(data: DataObject, body: bytes) -> list[bytes]:
    """`body` as a network may deliver it."""
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


@given(chat_calls(), st.sampled_from(("max_tokens", "max_completion_tokens")))
def test_a_chat_request_that_the_driver_writes_the_surface_reads(call: Infer, limit: str) -> None:
    body = write_chat_request(call, call.model, stream=call.stream, limit_field=limit, tiers=True)
    read = read_chat_request(body)
    assert read.call == call
    assert read.include_usage == call.stream


@given(text_calls())
def test_a_text_request_that_the_driver_writes_the_surface_reads(call: Infer) -> None:
    body = write_text_request(call, call.model, stream=call.stream, tiers=True)
    assert read_text_request(body).calls == (call,)


@given(streams())
def test_a_reply_that_the_surface_writes_the_driver_reads(
    stream: tuple[list[Delta], Completion],
) -> None:
    _, completion = stream
    assert read_chat_response(write_chat_response(completion, HEAD)) == said(completion)


@given(streams(), st.booleans(), st.data())
def test_a_stream_in_any_pieces_says_what_the_whole_reply_says(
    stream: tuple[list[Delta], Completion], include_usage: bool, data: DataObject
) -> None:
    deltas, completion = stream
    writer = ChatStream(HEAD, include_usage=include_usage)
    body = b"".join(writer.delta(delta) for delta in deltas) + writer.done(completion)
    read, generated = fed(cut(data, body))
    assert [delta for delta in read if delta.choice >= 0] == [
        d for d in deltas if d != Delta(d.choice)
    ]
    whole = read_chat_response(write_chat_response(completion, HEAD))
    assert generated == (
        whole if include_usage else msgspec.structs.replace(whole, usage=generated.usage)
    )


@given(streams())
def test_a_reply_without_deltas_streams_as_one_piece(
    stream: tuple[list[Delta], Completion],
) -> None:
    _, completion = stream
    body = ChatStream(HEAD, include_usage=True).done(completion)
    assert fed([body])[1] == said(completion)


@given(streams(), st.data())
def test_a_stream_that_is_cut_anywhere_is_never_taken_for_whole(
    stream: tuple[list[Delta], Completion], data: DataObject
) -> None:
    deltas, completion = stream
    writer = ChatStream(HEAD, include_usage=True)
    body = b"".join(writer.delta(delta) for delta in deltas) + writer.done(completion)
    end = data.draw(st.integers(0, len(body) - len(b"[DONE]\n\n")))
    with pytest.raises(DeviceFailed):
        fed([body[:end]])


@given(streams(), st.data())
def test_a_stream_that_breaks_ends_in_its_error_and_never_in_done(
    stream: tuple[list[Delta], Completion], data: DataObject
) -> None:
    deltas, _ = stream
    writer = ChatStream(HEAD, include_usage=True)
    body = b"".join(writer.delta(delta) for delta in deltas)
    body += writer.error(NotReady("the kernel stops"))
    assert b"[DONE]" not in body
    with pytest.raises(DeviceFailed, match="the kernel stops"):
        fed(cut(data, body))


@given(streams(), st.data())
def test_the_old_completions_stream_says_what_the_whole_reply_says(
    stream: tuple[list[Delta], Completion], data: DataObject
) -> None:
    deltas, completion = stream
    texts = [Delta(d.choice, d.text, logprobs=d.logprobs) for d in deltas]
    writer = TextStream(HEAD, n=len(completion.choices), include_usage=True)
    body = b"".join(writer.delta(0, delta) for delta in texts) + writer.done([completion])
    _, generated = fed(cut(data, body))
    whole = read_chat_response(write_text_response([completion], HEAD))
    assert [choice.message.content for choice in generated.choices] == [
        choice.message.text() for choice in completion.choices
    ]
    assert generated.choices == whole.choices
    assert generated.usage == whole.usage == completion.usage


READERS: Sequence[Callable[[bytes], object]] = (
    read_chat_request,
    read_text_request,
    read_embed_request,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for reader in READERS:
        with pytest.raises(BadCall):
            reader(body)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def mutate(data: DataObject, value: object) -> object:
    """Somewhere inside, something else."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: mutate(data, value[name])}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], mutate(data, value[at]), *value[at + 1 :]]
    return data.draw(values)


@given(chat_calls(), text_calls(), st.data())
def test_a_wrong_value_anywhere_is_refused_by_name_or_harmless(
    chat: Infer, text: Infer, data: DataObject
) -> None:
    bodies = (
        write_chat_request(chat, "m", stream=True),
        write_text_request(text, "m", stream=True),
        b'{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":3}',
    )
    for reader, body in zip(READERS, bodies, strict=True):
        mutated = msgspec.json.encode(mutate(data, msgspec.json.decode(body)))
        try:
            reader(mutated)
        except BadCall as error:
            assert error.message


@given(streams(), st.data())
def test_a_wrong_value_anywhere_in_an_engine_s_reply_is_the_engine_s_failure(
    stream: tuple[list[Delta], Completion], data: DataObject
) -> None:
    _, completion = stream
    whole = msgspec.json.decode(write_chat_response(completion, HEAD))
    mutated = msgspec.json.encode(mutate(data, whole))
    for reader in (
        read_chat_response,
        lambda body: fed([b"data: " + body + b"\n\ndata: [DONE]\n\n"]),
        lambda body: read_embed_response(body, 2),
        lambda body: read_models(body, EngineName("e")),
    ):
        try:
            reader(mutated)
        except KernelError as error:
            assert isinstance(error, DeviceFailed)
