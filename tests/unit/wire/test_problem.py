"""Errors on the wire: every one of ours has a status, a shape and a way back."""

import json

import pytest

from orlop.abi.errors import (
    BY_CODE,
    BadCall,
    BudgetSpent,
    DeviceBusy,
    DeviceFailed,
    DeviceRefused,
    Exhausted,
    KernelError,
    Killed,
)
from orlop.wire import problem
from orlop.wire.problem import Told


@pytest.mark.parametrize("kind", BY_CODE.values())
def test_every_error_comes_back_as_itself(kind: type[KernelError]) -> None:
    error = kind("what was wrong", retry_after_s=1.5)
    for told in (problem.openai(error), problem.anthropic(error)):
        headers = dict(told.headers)
        assert BY_CODE[headers[problem.CODE_HEADER]] is kind
        assert problem.read_told(told.body).message == "what was wrong"
        assert problem.retry_after_s(headers) == 1.5
        assert 400 <= told.status < 600


def test_the_field_that_is_wrong_is_the_param() -> None:
    body = json.loads(problem.openai_body(BadCall("`messages[3].content` must be a string")))
    assert body["error"]["param"] == "messages[3].content"
    assert body["error"]["code"] == "E1001"


def test_clients_are_told_whether_and_when_to_try_again() -> None:
    headers = dict(problem.openai(Exhausted("too many", retry_after_s=0.25)).headers)
    assert headers["x-should-retry"] == "true"
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("1", "250")
    assert dict(problem.openai(BudgetSpent("spent")).headers)["x-should-retry"] == "false"


def test_a_killed_call_is_gone_and_no_client_tries_it_again() -> None:
    told = problem.openai(Killed("the process was killed"))
    assert told.status == 410
    assert dict(told.headers)["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, DeviceRefused),
        (401, DeviceRefused),
        (404, DeviceRefused),
        (408, DeviceFailed),
        (409, DeviceFailed),
        (422, DeviceRefused),
        (429, DeviceBusy),
        (500, DeviceFailed),
        (502, DeviceFailed),
        (503, DeviceBusy),
    ],
)
def test_an_engine_s_status_says_whose_fault_it_was(status: int, kind: type[KernelError]) -> None:
    error = problem.engine_problem("far", status, {"retry-after": "3"}, Told("no"))
    assert type(error) is kind
    assert error.message.startswith(f"far answered {status}: no")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"m","type":"t","code":5}}', "m"),
        (b'{"type":"error","error":{"type":"t","message":"m"}}', "m"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"error":"m"}', "m"),
        (b"<html>oh</html>", "oh"),
        (b" <!DOCTYPE html><style>b {}</style>\n<b>Bad\n Gateway</b>", "Bad Gateway"),
        (b"a < b", "a < b"),
        (b"\xff", "�"),
        (b"", ""),
    ],
)
def test_an_engine_s_words_are_found_whatever_their_shape(body: bytes, message: str) -> None:
    assert problem.read_told(body).message == message


def test_a_time_that_is_no_time_is_none() -> None:
    for said in ("soon", "-1", "nan", "inf", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert problem.retry_after_s({"retry-after": said}) is None
    assert problem.retry_after_s({"retry-after-ms": "40", "retry-after": "9"}) == 0.04


@pytest.mark.parametrize("status", [200, 204, 302, 408, 500])
def test_what_is_neither_an_answer_nor_a_refusal_is_the_engine_s_failure(status: int) -> None:
    error = problem.engine_problem("far", status, {}, Told("odd"))
    assert type(error) is DeviceFailed
    assert f"far answered {status}: odd" in error.message


def test_an_account_without_money_is_not_waited_for() -> None:
    told = Told("You exceeded your current quota", code="insufficient_quota")
    error = problem.engine_problem("far", 429, {}, told)
    assert not isinstance(error, DeviceBusy)
    assert isinstance(error, DeviceFailed)
