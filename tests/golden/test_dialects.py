"""What is on the wire in Anthropic's and the Responses dialect, byte for byte.

A difference here changes what replayed programs read: change the files only on purpose, by
running this file (`python tests/golden/test_dialects.py`), and say so in the news.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import DeviceFailed
from orlop.abi.hints import Facts, Usage
from orlop.abi.ids import CallId, EngineName, Seq
from orlop.abi.messages import Message, ToolSpec, ToolUse
from orlop.abi.replies import Choice, Completion, Delta, ToolUseDelta
from orlop.wire.anthropic import write_messages_request, write_messages_response
from orlop.wire.anthropic_stream import MessageStream, MessageStreamReader
from orlop.wire.openai_terms import ReplyHead
from orlop.wire.responses import write_response
from orlop.wire.responses_stream import ResponseStream

FILES = Path(__file__).parent / "dialects"
HEAD = ReplyHead(
    call=CallId("cal_01k9ztqv7mf5m8y3n2x4w6r0ab"), created_s=1_760_000_000, model="small"
)
CALL = Infer(
    model="small",
    messages=(
        Message("system", "Be short."),
        Message("user", "Where is order 7?"),
        Message("assistant", None, tool_uses=(ToolUse("call_a", "find", '{"order":7}'),)),
        Message("tool", "in Graz", tool_use_id="call_a"),
        Message("user", "And order 8?"),
    ),
    tools=(ToolSpec("find", "Finds an order.", {"type": "object"}),),
    output_tokens_max=64,
    sampling=Sampling(temperature=0.0),
    dialect="responses",
    extra={"instructions": True},
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
        ),
    ),
    usage=Usage(input_tokens=40, cached_tokens=30, output_tokens=12, reasoning_tokens=5),
    model="small-q4",
    created_s=HEAD.created_s,
    facts=Facts(call=HEAD.call, seq=Seq(12), engine=EngineName("local")),
)
DELTAS = (
    Delta(reasoning="It was "),
    Delta(reasoning="sent yesterday."),
    Delta(text="I look"),
    Delta(text=" it up. ✓"),
    Delta(tool_uses=(ToolUseDelta(0, "call_b", "find"),)),
    Delta(tool_uses=(ToolUseDelta(0, arguments='{"order'),)),
    Delta(tool_uses=(ToolUseDelta(0, arguments='": 8}'),)),
)


def streamed(stream: MessageStream | ResponseStream) -> bytes:
    return b"".join(map(stream.delta, DELTAS)) + stream.done(DONE)


def broken(stream: MessageStream | ResponseStream) -> bytes:
    pieces = b"".join(map(stream.delta, DELTAS[:3]))
    return pieces + stream.error(DeviceFailed("the engine died", retry_after_s=1.0))


WRITTEN: Mapping[str, Callable[[], bytes]] = {
    "anthropic_request.json": lambda: write_messages_request(
        CALL, "small", stream=True, output_tokens_max=1
    ),
    "anthropic_message.json": lambda: write_messages_response(DONE, HEAD),
    "anthropic_stream.sse": lambda: streamed(MessageStream(HEAD)),
    "anthropic_broken.sse": lambda: broken(MessageStream(HEAD)),
    "responses_response.json": lambda: write_response(CALL, DONE, HEAD),
    "responses_stream.sse": lambda: streamed(ResponseStream(CALL, HEAD)),
    "responses_broken.sse": lambda: broken(ResponseStream(CALL, HEAD)),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_bytes_on_the_wire_are_what_they_were(name: str) -> None:
    assert WRITTEN[name]() == (FILES / name).read_bytes()


def test_a_stream_as_in_anthropics_documentation_is_read() -> None:
    reader = MessageStreamReader()
    deltas = reader.feed((FILES / "anthropic_example.sse").read_bytes())
    made = reader.finish()
    assert "".join(delta.text for delta in deltas) == "Okay, let's check the weather:"
    assert made.usage == Usage(input_tokens=472, output_tokens=89)
    assert made.choices == (
        Choice(
            Message(
                "assistant",
                "Okay, let's check the weather:",
                tool_uses=(
                    ToolUse(
                        "toolu_01T1x1fJ34qAmk2tNTrN7Up6",
                        "get_weather",
                        '{"location":"San Francisco, CA"}',
                    ),
                ),
            ),
            "tool_calls",
        ),
    )


if __name__ == "__main__":
    for name, write in WRITTEN.items():
        (FILES / name).write_bytes(write())
