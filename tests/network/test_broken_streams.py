"""A stream that breaks ends in an error event, never as if it were complete."""

import json

import pytest
from exact_client import CALLS, CHAT, MESSAGES, RESPONSES, Answer, ask, error_of
from live_kernel import LiveKernel

BROKEN = ("breaking", "dying")
USER = {"role": "user", "content": "hello"}
BODIES: dict[str, dict[str, object]] = {
    CHAT: {"messages": [USER], "stream_options": {"include_usage": True}},
    "/v1/completions": {"prompt": "hello"},
    RESPONSES: {"input": "hello"},
    MESSAGES: {"messages": [USER], "max_tokens": 5_000},
    CALLS: {"type": "infer", "messages": [USER]},
}
ENDS: dict[str, tuple[bytes, ...]] = {
    CHAT: (b"[DONE]", b'"finish_reason":"stop"', b'"usage":{'),
    "/v1/completions": (b"[DONE]", b'"finish_reason":"stop"'),
    RESPONSES: (b"response.completed", b"[DONE]"),
    MESSAGES: (b"message_stop",),
    CALLS: (b'"type":"completion"',),
}
"""What only a complete stream has."""

LAST: dict[str, bytes] = {
    CHAT: b'data: {"error":',
    "/v1/completions": b'data: {"error":',
    RESPONSES: b"event: error",
    MESSAGES: b"event: error",
    CALLS: b'{"type":"error"',
}


def stream(kernel: LiveKernel, path: str, model: str) -> Answer:
    body = json.dumps({**BODIES[path], "model": model, "stream": True}).encode()
    headers = {"accept": "application/x-ndjson"} if path == CALLS else {}
    return ask(kernel, path, body, headers=headers)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("model", BROKEN)
def test_a_stream_that_breaks_says_so(kernel: LiveKernel, path: str, model: str) -> None:
    answer = stream(kernel, path, model)
    if answer.status != 200:  # It broke before its first piece: then the status is honest.
        assert answer.status == 502
        assert error_of(answer, path) == "E2001"
        return
    for end in ENDS[path]:
        assert end not in answer.body
    assert LAST[path] in answer.body.strip().split(b"\n\n" if path != CALLS else b"\n")[-1]
    assert b"E2001" in answer.body


@pytest.mark.parametrize("path", BODIES)
def test_a_stream_that_does_not_break_has_its_end(kernel: LiveKernel, path: str) -> None:
    answer = stream(kernel, path, "fake")
    assert answer.status == 200
    assert ENDS[path][0] in answer.body
    assert b'"error":{' not in answer.body


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("model", BROKEN)
def test_a_call_that_breaks_without_a_stream_has_an_honest_status(
    kernel: LiveKernel, path: str, model: str
) -> None:
    answer = ask(kernel, path, json.dumps({**BODIES[path], "model": model}).encode())
    assert answer.status == 502
    assert error_of(answer, path) == "E2001"
