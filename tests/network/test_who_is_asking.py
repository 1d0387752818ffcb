"""Tokens, hosts and origins: who may ask, from where, and what everybody else is told."""

import json

import pytest
from exact_client import (
    CALLS,
    CHAT,
    MESSAGES,
    ask,
    chat,
    connect,
    error_of,
    operator_token,
    read_all,
)
from live_kernel import LiveKernel

DOORS = (CHAT, MESSAGES, CALLS, "/orlop/v1/processes", "/v1/nope")
FORGED = {
    "nothing": "",
    "not ours": "sk-proj-1234",
    "a key that does not exist": "orlk_" + "0" * 48,
    "a process token with a wrong seal": "orlp_01m7y.1." + "0" * 32,
    "a process token cut short": "orlp_",
    "a process token without parts": "orlp_hello",
    "an operator's prefix": "orlo_",
    "very long": "x" * 20_000,
    "not ASCII": "schl\u00fcssel",
}


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_is_refused(kernel: LiveKernel, path: str, token: str) -> None:
    answer = ask(kernel, path, b"{}", token=token)
    assert answer.status == 401
    assert error_of(answer, path) == "E1101"


def test_a_key_is_taken_from_either_header(kernel: LiveKernel) -> None:
    answer = ask(kernel, CHAT, chat(), token="", headers={"x-api-key": kernel.key})
    assert answer.status == 200


def test_a_truncated_key_is_refused(kernel: LiveKernel) -> None:
    assert ask(kernel, CHAT, chat(), token=kernel.key[:-1]).status == 401


def test_a_revoked_key_is_refused(kernel: LiveKernel) -> None:
    made = json.loads(kernel.orlop("key", "create", "short-lived", "--json"))
    assert ask(kernel, CHAT, chat(), token=made["secret"]).status == 200
    kernel.orlop("key", "revoke", made["id"])
    assert ask(kernel, CHAT, chat(), token=made["secret"]).status == 401


def test_a_client_may_not_do_what_operators_may(kernel: LiveKernel) -> None:
    answer = ask(kernel, "/orlop/v1/processes")
    assert answer.status == 403
    assert error_of(answer, "/orlop/v1/processes") == "E1102"


def test_an_earlier_incarnation_is_fenced(kernel: LiveKernel) -> None:
    operator = operator_token(kernel)
    order = {"command": ["sh", "-c", "echo $ORLOP_TOKEN"], "env": {"PATH": "/usr/bin:/bin"}}
    body = json.dumps({**order, "name": "teller"}).encode()
    started = ask(kernel, "/orlop/v1/processes", body, token=operator)
    assert started.status == 201
    assert ask(kernel, "/orlop/v1/processes/teller/wait", token=operator).status == 200
    said = ask(kernel, "/orlop/v1/processes/teller/logs", token=operator).body
    token = json.loads(said.splitlines()[0])["text"].strip()
    answer = ask(kernel, CHAT, chat(), token=token)
    assert answer.status == 409
    assert error_of(answer, CHAT) == "E1203"


HOSTS = {
    "localhost": 200,
    "127.0.0.1:1": 200,
    "[::1]:8080": 200,
    "LOCALHOST": 200,
    "evil.example": 403,
    "localhost.evil.example": 403,
    "127.0.0.1.nip.io:7411": 403,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_only_our_own_names_are_answered(kernel: LiveKernel, host: str, status: int) -> None:
    with connect(kernel) as connection:
        asked = f"GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        connection.sendall(asked.encode())
        assert read_all(connection).startswith(f"HTTP/1.1 {status} ".encode())


ORIGINS = {
    "http://localhost:3000": 200,
    "http://127.0.0.1": 200,
    "null": 403,
    "https://evil.example": 403,
    "http://localhost@evil.example": 403,
    "http://[::bad": 403,
    "localhost": 403,
}


@pytest.mark.parametrize(("origin", "status"), ORIGINS.items())
def test_a_page_of_another_origin_is_refused(kernel: LiveKernel, origin: str, status: int) -> None:
    answer = ask(kernel, CHAT, chat(), headers={"origin": origin})
    assert answer.status == status


def test_an_engine_key_of_the_caller_is_not_taken(kernel: LiveKernel) -> None:
    """Keys of engines come from orlop.toml alone; what a caller sends is for us, and refused."""
    answer = ask(kernel, CHAT, chat(), token="sk-proj-of-the-caller")
    assert answer.status == 401
    assert "sk-proj-of-the-caller" not in (kernel.home / "log" / "kernel.log").read_text()
