"""What is on the wire in OpenAI's dialect, and the recorded boundaries, byte for byte.

A difference here changes what replayed programs read: change the files only on purpose, by
running this file (`python tests/golden/test_openai_wire.py`), and say so in the news.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import BadCall, DeviceFailed
from orlop.abi.hints import Facts, Usage
from orlop.abi.ids import CallId, EngineName, ModelName, Seq
from orlop.abi.messages import Message, TokenLogprob, ToolSpec, ToolUse
from orlop.abi.replies import Choice, Completion, Delta, ToolUseDelta, Vectors
from orlop.wire import chunks, problem
from orlop.wire.openai import write_chat_request, write_chat_response
from orlop.wire.openai_embed import write_embed_response
from orlop.wire.openai_legacy import TextStream, write_text_response
from orlop.wire.openai_stream import ChatStream, ChatStreamReader
from orlop.wire.openai_terms import head_of

FILES = Path(__file__).parent / "dialects"
HEAD = head_of(CallId("cal_01k9ztqv7mf5m8y3n2x4w6r0ab"), "small", "batch")
CALL = Infer(
    model="small",
    messages=(
        Message("system", "Be short."),
        Message("user", "Where is order 7?"),
        Message("assistant", None, tool_uses=(ToolUse("call_a", "find", '{"order":7}'),)),
        Message("tool", "in Graz", tool_use_id="call_a"),
    ),
    tools=(ToolSpec("find", "Finds an order.", {"type": "object"}),),
    tool_choice={"name": "find"},
    output_tokens_max=64,
    sampling=Sampling(temperature=0.0, stop=("END",), logprobs=True, top_logprobs=1),
    dialect="openai",
    extra={"user": "ada"},
)
FACTS = Facts(call=HEAD.call, seq=Seq(12), engine=EngineName("local"), model=ModelName("small"))
USAGE = Usage(input_tokens=40, cached_tokens=30, output_tokens=12, reasoning_tokens=5)
LOGPROBS = (
    TokenLogprob("I look", -0.25, (73, 32), (TokenLogprob("We look", -1.5),)),
    TokenLogprob(" it up. ✓", -0.5),
)
DONE = Completion(
    choices=(
        Choice(
            Message(
                "assistant",
                "I look it up. ✓",
                tool_uses=(ToolUse("call_b", "find", '{"order": 8}'),),
                reasoning="It was sent yesterday.",
            ),
            "tool_calls",
            logprobs=LOGPROBS,
        ),
    ),
    usage=USAGE,
    model="small-q4",
    fingerprint="fp_7",
    facts=FACTS,
)
DELTAS = (
    Delta(reasoning="It was "),
    Delta(reasoning="sent yesterday."),
    Delta(text="I look", logprobs=LOGPROBS[:1]),
    Delta(text=" it up. ✓", logprobs=LOGPROBS[1:]),
    Delta(tool_uses=(ToolUseDelta(0, "call_b", "find"),)),
    Delta(tool_uses=(ToolUseDelta(0, arguments='{"order'),)),
    Delta(tool_uses=(ToolUseDelta(0, arguments='": 8}'),)),
)


def chat_stream() -> bytes:
    stream = ChatStream(HEAD, include_usage=True)
    return b"".join(map(stream.delta, DELTAS)) + stream.done(DONE)


def broken_stream() -> bytes:
    stream = ChatStream(HEAD, include_usage=False)
    pieces = b"".join(map(stream.delta, DELTAS[:3]))
    return pieces + stream.error(DeviceFailed("the engine died", retry_after_s=1.0))


def text_stream() -> bytes:
    stream = TextStream(HEAD, n=1, include_usage=True)
    return b"".join(stream.delta(0, delta) for delta in DELTAS[2:4]) + stream.done([DONE])


WRITTEN: Mapping[str, Callable[[], bytes]] = {
    "openai_request.json": lambda: write_chat_request(CALL, "small", stream=True),
    "openai_chat.json": lambda: write_chat_response(DONE, HEAD),
    "openai_stream.sse": chat_stream,
    "openai_broken.sse": broken_stream,
    "openai_text.json": lambda: write_text_response([DONE], HEAD),
    "openai_text.sse": text_stream,
    "openai_vectors.json": lambda: write_embed_response(
        Vectors(vectors=((1.0, 0.5), (0.25, -1.0)), usage=USAGE, facts=FACTS), "mini", "base64"
    ),
    "openai_error.json": lambda: problem.openai_body(BadCall("`model` is required")),
    "chunks.json": lambda: bytes(chunks.pack(DELTAS, DONE)),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_bytes_on_the_wire_are_what_they_were(name: str) -> None:
    assert WRITTEN[name]() == (FILES / name).read_bytes()


def test_old_recorded_boundaries_are_still_cut_by() -> None:
    raw = msgspec.Raw((FILES / "chunks.json").read_bytes())
    assert chunks.unpack(raw, DONE) == list(DELTAS)


def test_a_stream_as_llama_server_gives_it_is_read() -> None:
    reader = ChatStreamReader()
    deltas = reader.feed((FILES / "openai_example.sse").read_bytes())
    made = reader.finish()
    assert [delta.text for delta in deltas] == ["Hello", "!"]
    assert made.choices == (Choice(Message("assistant", "Hello!")),)
    assert made.usage == Usage(input_tokens=31, cached_tokens=30, output_tokens=3)
    assert made.fingerprint == "b6500-abc"
    assert (made.prefill_s, made.decode_s) == (0.0125, 0.0405)


if __name__ == "__main__":
    for name, write in WRITTEN.items():
        (FILES / name).write_bytes(write())
