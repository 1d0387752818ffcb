"""What is wrong with a call is said in the dialect's shape, at every door, and nothing breaks."""

import json

import pytest
from exact_client import (
    CALLS,
    CHAT,
    MESSAGES,
    RESPONSES,
    Answer,
    ask,
    chat,
    error_of,
    operator_token,
)
from live_kernel import LiveKernel

DOORS = (CHAT, "/v1/completions", "/v1/embeddings", RESPONSES, MESSAGES, CALLS)
DEEP = b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"

MALFORMED = {
    "cut off": b'{"model": "fa',
    "empty": b"",
    "an array": b"[]",
    "null": b"null",
    "a bare word": b"hello",
    "not a number": b'{"model": NaN}',
    "too large a number": b'{"model": 1e400}',
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-16": '{"model": "fake"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model": "fake"}',
    "a lone surrogate": b'{"model": "\\ud800"}',
    "a lone surrogate as a name": b'{"\\udfff": 1}',
    "ten thousand deep": DEEP,
    "ten thousand deep and cut off": b'{"a":' * 10_000,
    "form data": b"model=fake&messages=hello",
}


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_body_is_refused_as_such(
    kernel: LiveKernel, path: str, body: bytes, unix: bool
) -> None:
    answer = ask(kernel, path, body, unix=unix)
    assert answer.status == 400
    assert error_of(answer, path) == "E1001"


WRONG: tuple[tuple[str, dict[str, object]], ...] = (
    (CHAT, {"model": 3}),
    (CHAT, {"messages": "hello"}),
    (CHAT, {"messages": []}),
    (CHAT, {"messages": [{"role": "king", "content": "x"}]}),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
    (CHAT, {"max_tokens": -1}),
    (CHAT, {"max_tokens": 2**40}),
    (CHAT, {"n": 10**9}),
    (CHAT, {"n": 0}),
    (CHAT, {"temperature": "hot"}),
    (CHAT, {"top_p": 1.5}),
    (CHAT, {"top_logprobs": 5}),
    (CHAT, {"stop": ["x"] * 100}),
    (CHAT, {"stop": ""}),
    (CHAT, {"response_format": {"type": "json_schema"}}),
    (CHAT, {"stream": "yes"}),
    (CHAT, {"tools": [{"type": "function"}]}),
    (CHAT, {"logit_bias": {"1": 1e300}}),
    (CHAT, {"seed": 2**80}),
    (RESPONSES, {"input": 5}),
    (RESPONSES, {"max_output_tokens": -1}),
    (RESPONSES, {"max_output_tokens": 2**31}),
    (RESPONSES, {"background": True}),
    (MESSAGES, {"max_tokens": 0}),
    (MESSAGES, {"max_tokens": None}),
    (MESSAGES, {"max_tokens": 2**31}),
    (MESSAGES, {"stop_sequences": [""]}),
    (MESSAGES, {"messages": [{"role": "nobody", "content": "x"}]}),
    ("/v1/embeddings", {"input": []}),
    ("/v1/embeddings", {"input": ["x"] * 3_000}),
    ("/v1/embeddings", {"dimensions": -1}),
    ("/v1/embeddings", {"dimensions": 10**12}),
    ("/v1/embeddings", {"encoding_format": "roman"}),
    ("/v1/completions", {"prompt": {}}),
    ("/v1/completions", {"prompt": [[-1]]}),
    (CALLS, {"type": "dance"}),
    (CALLS, {"messages": [], "prompt": None}),
    (CALLS, {"output_tokens_max": -5}),
    (CALLS, {"sampling": {"n": -4}}),
    (CALLS, {"sampling": {"temperature": -4}}),
    (CALLS, {"sampling": {"logprobs": True, "top_logprobs": 10**9}}),
    (CALLS, {"hints": {"deadline_s": -1}}),
    (CALLS, {"hints": {"deadline_s": 1e300}}),
    (CALLS, {"type": "embed", "inputs": ["a"], "dimensions": -3}),
    (CALLS, {"type": "embed", "inputs": ["a"], "dimensions": 10**12}),
    (CALLS, {"type": "embed", "inputs": []}),
    (CALLS, {"type": "sleep", "seconds": -1}),
    (CALLS, {"type": "sleep", "seconds": 1e300}),
    (CALLS, {"type": "sleep", "seconds": "long"}),
    (CALLS, {"type": "spawn", "command": []}),
    (CALLS, {"type": "spawn", "command": ["a\0b"]}),
    (CALLS, {"type": "spawn", "command": ["true"], "env": {"A=B": "c"}}),
    (CALLS, {"type": "spawn", "command": ["true"], "name": "\x1b[2J"}),
    (CALLS, {"type": "spawn", "command": ["true"], "budget": {"tokens": -5}}),
    (CALLS, {"type": "exit", "status": 10**30}),
    (CALLS, {"type": "signal", "process": "2", "signal": "nuke"}),
    (CALLS, {"type": "call_tool", "tool": "echo", "key": "k" * 100_000}),
    (CALLS, {"type": "call_tool", "tool": "echo", "key": "a\0b"}),
    (CALLS, {"type": "call_tool", "tool": "echo", "arguments": ["a"]}),
)

USUAL: dict[str, dict[str, object]] = {
    CHAT: {"model": "fake", "messages": [{"role": "user", "content": "x"}]},
    RESPONSES: {"model": "fake", "input": "x"},
    MESSAGES: {"model": "fake", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]},
    "/v1/embeddings": {"model": "fake-embed", "input": "x"},
    "/v1/completions": {"model": "fake", "prompt": "x"},
    CALLS: {"type": "infer", "model": "fake", "messages": [{"role": "user", "content": "x"}]},
}
NAMED = [f"{path} {json.dumps(fields)[:60]}" for path, fields in WRONG]


@pytest.mark.parametrize(("path", "fields"), WRONG, ids=NAMED)
def test_a_wrong_field_is_refused(kernel: LiveKernel, path: str, fields: dict[str, object]) -> None:
    other = str(fields.get("type", "infer")) != "infer"
    usual = {"model": "fake-embed"} if fields.get("type") == "embed" else {}
    body = {**(usual if other else USUAL[path]), **fields}
    answer = ask(kernel, path, json.dumps(body).encode())
    assert answer.status == 400, answer
    assert error_of(answer, path) == "E1001"


@pytest.mark.parametrize("path", DOORS)
def test_an_unknown_model_is_not_found_and_those_that_exist_are_named(
    kernel: LiveKernel, path: str
) -> None:
    usual = {**USUAL[path], "model": "nope" * 10_000}
    answer = ask(kernel, path, json.dumps(usual).encode())
    assert answer.status == 404
    assert error_of(answer, path) == "E1201"
    assert b"fake" in answer.body
    assert len(answer.body) < 2_000


@pytest.mark.parametrize("path", DOORS)
def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    kernel: LiveKernel, path: str
) -> None:
    answer = ask(kernel, path, b"x" * (33 * 1024 * 1024))
    assert answer.status == 413
    assert error_of(answer, path) == "E1002"


def test_the_content_type_does_not_matter(kernel: LiveKernel) -> None:
    answer = ask(kernel, CHAT, chat(), headers={"content-type": "text/html"})
    assert answer.status == 200


UNKNOWN = ("/", "/v1/nope", "/v1/messages/x", "/orlop/v1/nope", "/%00", "/%ff", "//orlop/v1/info")


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_route_is_not_found(kernel: LiveKernel, path: str) -> None:
    answer = ask(kernel, path)
    assert answer.status == 404
    assert error_of(answer, path) == "E1201"


METHODS = (
    ("GET", CHAT, "POST"),
    ("DELETE", MESSAGES, "POST"),
    ("PUT", RESPONSES, "POST"),
    ("PATCH", "/orlop/v1/info", "GET"),
    ("POST", "/v1/models", "GET"),
    ("POST", "/health", "GET, HEAD"),
    ("GET", CALLS, "POST"),
    ("OPTIONS", "/orlop/v1/processes", "GET, POST"),
)


@pytest.mark.parametrize(("method", "path", "allowed"), METHODS)
def test_a_wrong_method_is_told_the_right_ones(
    kernel: LiveKernel, method: str, path: str, allowed: str
) -> None:
    answer = ask(kernel, path, method=method)
    assert answer.status == 405
    assert error_of(answer, path) == "E1206"
    assert answer.headers["allow"] == allowed


ADMIN = (
    ("GET", "/orlop/v1/processes/" + "9" * 5_000, None, 404),
    ("GET", "/orlop/v1/processes/%D9%A2", None, 404),
    ("GET", "/orlop/v1/processes/2/wait?timeout=-1", None, 400),
    ("GET", "/orlop/v1/processes/2/logs?offset=nan", None, 400),
    ("GET", "/orlop/v1/journal/export?first=-5", None, 400),
    ("GET", "/orlop/v1/journal/export?process=nobody", None, 404),
    ("POST", "/orlop/v1/processes", b"{}", 400),
    ("POST", "/orlop/v1/processes", b'{"command": []}', 400),
    ("POST", "/orlop/v1/processes", b'{"command": ["true"], "name": "a\\nb"}', 400),
    ("POST", "/orlop/v1/processes/2/signal", b'{"signal": "nuke"}', 400),
    ("POST", "/orlop/v1/processes/2/resume", b'{"budget": {"calls": -1}}', 400),
    ("POST", "/orlop/v1/schedules", b'{"when": "never", "command": ["true"]}', 400),
    ("POST", "/orlop/v1/schedules", b'{"when": "every 0s", "command": ["true"]}', 400),
    ("POST", "/orlop/v1/schedules", b'{"when": "every 9s", "command": ["a\\u0000"]}', 400),
    ("POST", "/orlop/v1/schedules", b'{"when": "every 9s", "command": []}', 400),
    (
        "POST",
        "/orlop/v1/schedules",
        b'{"when": "* * * * *", "zone": "../x", "command": ["a"]}',
        400,
    ),
    ("POST", "/orlop/v1/keys", b'{"name": 5}', 400),
    ("POST", "/orlop/v1/keys", b"[]", 400),
    ("DELETE", "/orlop/v1/keys/nope", None, 404),
    ("DELETE", "/orlop/v1/schedules/nope", None, 404),
)


@pytest.mark.parametrize(("method", "path", "body", "status"), ADMIN)
def test_operators_are_told_too(
    kernel: LiveKernel, method: str, path: str, body: bytes | None, status: int
) -> None:
    # A process with the number 2, as some of the paths name it.
    ask(kernel, CHAT, chat())
    answer = ask(kernel, path, body, method=method, token=operator_token(kernel))
    assert answer.status == status, answer
    error_of(answer, path)


def test_a_signal_that_does_not_fit_changes_nothing(kernel: LiveKernel) -> None:
    token = operator_token(kernel)

    def signal(name: str) -> Answer:
        path = "/orlop/v1/processes/signalled/signal"
        return ask(kernel, path, json.dumps({"signal": name}).encode(), token=token)

    ask(kernel, CHAT, chat(), headers={"orlop-process": "signalled"})
    assert signal("cont").status == 409
    assert signal("stop").status == 200
    assert signal("stop").status == 409
    assert signal("cont").status == 200
    verified = kernel.orlop("show", "signalled", "--json")
    assert json.loads(verified)["state"] == "running"


@pytest.mark.parametrize(
    ("path", "order", "field", "meant"),
    [
        ("/orlop/v1/keys", {"nmae": "x"}, "nmae", "name"),
        ("/orlop/v1/claims", {"process": "1", "ordr": {}}, "ordr", "order"),
        ("/orlop/v1/claims", {"process": "1", "order": {"exlusive": 1}}, "exlusive", "exclusive"),
    ],
)
def test_a_misspelt_field_of_an_order_is_named_and_nothing_is_ordered(
    kernel: LiveKernel, path: str, order: dict[str, object], field: str, meant: str
) -> None:
    answer = ask(kernel, path, json.dumps(order).encode(), token=operator_token(kernel))
    assert answer.status == 400 and error_of(answer, path) == "E1001"
    said = answer.body.decode()
    assert f"'{field}' is no field of it; did you mean '{meant}'?" in said
