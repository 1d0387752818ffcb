"""Budgets as their users meet them: by command, by HTTP, and as a client that is refused."""

import json

import pytest
from exact_client import CALLS, CHAT, MESSAGES, Answer, ask, operator_token
from live_kernel import LiveKernel

HELLO = [{"role": "user", "content": "hello"}]


def chat(kernel: LiveKernel, key: str, **fields: object) -> Answer:
    body = {"model": "fake", "messages": HELLO, **fields}
    return ask(kernel, CHAT, json.dumps(body).encode(), token=key)


def order(kernel: LiveKernel, body: object) -> Answer:
    token = operator_token(kernel)
    return ask(kernel, "/orlop/v1/budgets", json.dumps(body).encode(), token=token)


def test_a_team_s_budget_ends_its_clients_calls_in_every_dialect(kernel: LiveKernel) -> None:
    key = kernel.orlop("key", "create", "--team", "thrifty").strip()
    kernel.orlop("budget", "set", "team:thrifty", "--calls", "2", "--per", "day")
    assert chat(kernel, key).status == 200
    message = json.dumps({"model": "fake", "messages": HELLO, "max_tokens": 9}).encode()
    assert ask(kernel, MESSAGES, message, token=key).status == 200
    native = json.dumps({"type": "infer", "model": "fake", "messages": HELLO}).encode()
    for refused in (
        chat(kernel, key),
        chat(kernel, key, stream=True),
        ask(kernel, MESSAGES, message, token=key),
        ask(kernel, CALLS, native, token=key),
    ):
        assert refused.status == 429
        assert b"team thrifty is 2 calls per day: 2 calls used" in refused.body
        assert b"it refills in" in refused.body
        assert int(refused.headers["retry-after"]) > 0
    assert chat(kernel, kernel.key).status == 200
    shown = kernel.orlop("budget", "show", "team:thrifty")
    assert "2 of 2" in shown


def test_a_budget_in_dollars_is_refused_for_a_bad_amount_and_set_for_a_good_one(
    kernel: LiveKernel,
) -> None:
    bad: tuple[object, ...] = (
        {},
        {"account": "team:x"},
        {"account": "team:x", "limit": {"budget": {"nano_dollars": -1}}},
        {"account": "team:x", "limit": {"budget": {"nano_dollars": 1.5}}},
        {"account": "team:x", "limit": {"per": "fortnight"}},
        {"account": "team:x", "limit": {"calls_per_minute": 0}},
        {"account": "team:", "limit": {}},
        {"account": "team:" + "x" * 200, "limit": {}},
        {"account": "team:\x1b[2J", "limit": {}},
    )
    for body in bad:
        refused = order(kernel, body)
        assert refused.status == 400, (body, refused.body)
    assert order(kernel, {"account": "nobody", "limit": {}}).status == 404
    good = order(kernel, {"account": "team:x", "limit": {"budget": {"nano_dollars": 5}}})
    assert good.status == 200
    token = operator_token(kernel)
    one = ask(kernel, "/orlop/v1/budgets/team%3Ax", token=token)
    assert one.json()["source"] == "set"
    gone = ask(kernel, "/orlop/v1/budgets/team%3Ax", method="DELETE", token=token)
    assert gone.status == 200
    assert ask(kernel, "/orlop/v1/budgets/team%3Ax", token=token).status == 404
    again = ask(kernel, "/orlop/v1/budgets/team%3Ax", method="DELETE", token=token)
    assert again.status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_budgets_are_for_operators(kernel: LiveKernel, method: str) -> None:
    assert ask(kernel, "/orlop/v1/budgets", b"{}", method=method).status == 403


def test_a_program_is_refused_what_its_own_budget_does_not_hold(kernel: LiveKernel) -> None:
    kernel.orlop("budget", "set", "agent:writer", "--tokens", "60")
    body = json.dumps(
        {"type": "infer", "model": "fake", "messages": HELLO, "output_tokens_max": 500}
    ).encode()
    refused = ask(kernel, CALLS, body, headers={"orlop-process": "writer"})
    assert refused.status == 429
    assert b"agent writer is 60 tokens" in refused.body
    assert b"it does not refill" in refused.body
