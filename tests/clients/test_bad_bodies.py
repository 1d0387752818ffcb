"""Bodies that no client should send: a clear refusal in the dialect's shape, and nothing else."""

import json
from collections.abc import Mapping

import httpx2
import pytest
from live_kernel import LiveKernel

ROUTES = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
BODIES: Mapping[str, bytes] = {
    "nothing": b"",
    "half": b'{"model": "fake", "mess',
    "an array": b"[]",
    "no UTF-8": b'{"model": "\xff\xfe"}',
    "half a surrogate": b'{"model": "\\ud800"}',
    "deep": b'{"model": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep inside": b'{"model": "fake", "metadata": ' + b'{"a":' * 300 + b"1" + b"}" * 301,
    "a huge number": b'{"model": "fake", "temperature": 1e999}',
    "no model": b'{"messages": [], "input": "x"}',
    "wrong types": b'{"model": 3, "messages": "x", "input": 4, "max_tokens": "many"}',
    "negative limits": b'{"model": "fake", "max_tokens": -1, "max_output_tokens": -1,'
    b' "input": "x", "messages": [{"role": "user", "content": "x"}]}',
    "a flag that is none": b'{"model": "fake", "stream": "yes", "max_tokens": 5,'
    b' "input": "x", "messages": [{"role": "user", "content": "x"}]}',
}

GOOD: Mapping[str, object] = {
    "model": "fake",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "x"}],
    "input": "x",
}


@pytest.fixture
def headers(kernel: LiveKernel) -> Mapping[str, str]:
    return {"authorization": f"Bearer {kernel.key}", "content-type": "application/json"}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_in_the_dialects_shape(
    kernel: LiveKernel, headers: Mapping[str, str], route: str, name: str
) -> None:
    answer = httpx2.post(kernel.url + route, content=BODIES[name], headers=headers)
    assert answer.status_code == 400
    told = answer.json()
    assert told["error"]["message"]
    assert told["error"]["type"] == "invalid_request_error"
    assert ("type" in told) == (route == "/v1/messages")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("route", ROUTES)
def test_a_number_that_doubles_cannot_hold_is_no_obstacle(
    kernel: LiveKernel, headers: Mapping[str, str], route: str
) -> None:
    body = dict(GOOD) | {"metadata": {"account": 2**62}}
    if route == "/v1/messages":
        del body["input"]
    answer = httpx2.post(kernel.url + route, content=json.dumps(body), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("route", ROUTES)
def test_a_stranger_is_told_in_the_dialects_shape(kernel: LiveKernel, route: str) -> None:
    answer = httpx2.post(kernel.url + route, content=b"{}")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("route", ["/v1/responses/", "/v1/responses/x/y", "/v1/responses/resp_x"])
def test_odd_names_of_responses_are_not_found(
    kernel: LiveKernel, headers: Mapping[str, str], route: str
) -> None:
    assert httpx2.get(kernel.url + route, headers=headers).status_code == 404


def test_odd_pages_of_input_items_are_refused(
    kernel: LiveKernel, headers: Mapping[str, str]
) -> None:
    made = httpx2.post(
        f"{kernel.url}/v1/responses", content=b'{"model":"fake","input":"x"}', headers=headers
    ).json()
    items = f"{kernel.url}/v1/responses/{made['id']}/input_items"
    for query in ("limit=0", "limit=-1", "limit=x", "limit=1000", "after=nobody"):
        assert httpx2.get(f"{items}?{query}", headers=headers).status_code == 400
    assert httpx2.get(f"{items}?limit=1", headers=headers).status_code == 200
