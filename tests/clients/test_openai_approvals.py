"""An agent of OpenAI's own client, unmodified: its tools need a person, and its answers come later.

The client knows nothing of approvals.  It asks the model as ever, and calls the kernel's tools with
its own `post`; what waits for a person is answered with 202 and an id.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from live_kernel import LiveKernel, live_kernel

CONFIG = """
[tools.refund]
command = ["{python}", "-c", "import sys; print(sys.stdin.read()); open('{paid}', 'a').write('x')"]
approval = "always"
preview = ["{python}", "-c", "import sys, json; print('takes', json.load(sys.stdin)['amount'])"]
"""
PATIENCE_S = 60.0


@pytest.fixture
def paid(tmp_path: Path) -> Path:
    return tmp_path / "paid"


@pytest.fixture
def kernel(paid: Path) -> Iterator[LiveKernel]:
    with live_kernel(CONFIG.format(python=sys.executable, paid=paid)) as running:
        yield running


def client(kernel: LiveKernel, **how: object) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{kernel.url}/v1",
        api_key=kernel.key,
        default_headers={"orlop-process": "desk"},
        **how,  # type: ignore[arg-type]
    )


def tools(kernel: LiveKernel) -> openai.OpenAI:
    """The same client, pointed at the kernel's own routes."""
    return client(kernel).with_options(base_url=f"{kernel.url}/orlop/v1")


def waiting(kernel: LiveKernel) -> dict[str, object]:
    give_up_s = time.monotonic() + PATIENCE_S
    while not (rows := json.loads(kernel.orlop("approvals", "--json"))):
        assert time.monotonic() < give_up_s, "nothing waits"
        time.sleep(0.1)
    return dict(rows[0])


BODY = {"type": "call_tool", "tool": "refund", "arguments": {"order": "A-1", "amount": 9}}


def test_a_call_that_waits_is_answered_later_and_the_client_goes_on_meanwhile(
    kernel: LiveKernel, paid: Path
) -> None:
    agent, door = client(kernel), tools(kernel)
    said = agent.chat.completions.create(
        model="fake", messages=[{"role": "user", "content": "a refund, please"}]
    )
    assert said.choices[0].message.content
    told = door.post(
        "/calls", cast_to=object, body=BODY, options={"headers": {"prefer": "respond-async"}}
    )
    assert isinstance(told, dict) and told["question"].startswith("qst_")
    later = door.get(f"/calls/{told['call']}?wait=0", cast_to=object)
    assert later == told
    again = agent.chat.completions.create(
        model="fake", messages=[{"role": "user", "content": "and something else"}]
    )
    assert again.choices[0].message.content

    row = waiting(kernel)
    assert row["id"] == told["question"] and row["preview"] == "takes 9"
    os.kill(json.loads(kernel.orlop("info", "--json"))["os_pid"], signal.SIGKILL)
    assert waiting(kernel)["id"] == row["id"]
    assert not paid.exists()
    kernel.orlop("approve", str(row["id"]), "--as", "Grace", "--minutes", "2")
    done = door.get(f"/calls/{told['call']}?wait=30", cast_to=object)
    assert isinstance(done, dict) and done["value"] == {"order": "A-1", "amount": 9}
    assert paid.read_text() == "x"
    once_more = door.get(f"/calls/{told['call']}", cast_to=object)
    assert isinstance(once_more, dict) and once_more["value"] == done["value"]
    assert paid.read_text() == "x"

    case = json.loads(kernel.orlop("approvals", "show", str(row["id"]), "--case", "--json"))
    assert [message["role"] for message in case["conversation"]] == ["user", "assistant"]
    (effect,) = case["effects"]
    assert (effect["tool"], effect["status"], effect["cleared_by"]) == ("refund", "ok", row["id"])


def test_a_client_that_waits_on_its_connection_gets_its_answer_there(
    kernel: LiveKernel, paid: Path
) -> None:
    answers: list[object] = []

    def call() -> None:
        answers.append(tools(kernel).post("/calls", cast_to=object, body=BODY))

    agent = threading.Thread(target=call)
    agent.start()
    kernel.orlop("approve", str(waiting(kernel)["id"]), "--as", "Grace")
    agent.join(PATIENCE_S)
    (answer,) = answers
    assert isinstance(answer, dict) and answer["value"] == {"order": "A-1", "amount": 9}
    assert paid.read_text() == "x"


def test_a_refusal_is_an_error_that_the_client_understands(kernel: LiveKernel, paid: Path) -> None:
    door = tools(kernel)
    told = door.post(
        "/calls", cast_to=object, body=BODY, options={"headers": {"prefer": "respond-async"}}
    )
    assert isinstance(told, dict)
    kernel.orlop("deny", str(waiting(kernel)["id"]), "--note", "not this one")
    with pytest.raises(openai.PermissionDeniedError, match="not this one"):
        door.get(f"/calls/{told['call']}?wait=30", cast_to=object)
    assert not paid.exists()


def test_an_impatient_client_leaves_and_finds_its_question_again(
    kernel: LiveKernel, paid: Path
) -> None:
    hasty = client(kernel, timeout=1.0, max_retries=0).with_options(
        base_url=f"{kernel.url}/orlop/v1"
    )
    with pytest.raises(openai.APITimeoutError):
        hasty.post("/calls", cast_to=object, body=BODY)
    row = waiting(kernel)
    kernel.orlop("approve", str(row["id"]), "--as", "Grace")
    done = tools(kernel).post("/calls", cast_to=object, body=BODY)
    assert isinstance(done, dict) and done["value"] == {"order": "A-1", "amount": 9}
    assert paid.read_text() == "x"


def test_any_slow_call_may_be_answered_later(kernel: LiveKernel) -> None:
    """The engine needs four seconds; the client is told at once where the answer will be."""
    door = tools(kernel)
    body = {"type": "infer", "model": "slow", "messages": [{"role": "user", "content": "hello"}]}
    told = door.post(
        "/calls", cast_to=object, body=body, options={"headers": {"prefer": "respond-async"}}
    )
    assert isinstance(told, dict) and "question" not in told
    done = door.get(f"/calls/{told['call']}?wait=60", cast_to=object)
    assert isinstance(done, dict) and done["choices"]
    once_more = door.get(f"/calls/{told['call']}", cast_to=object)
    assert isinstance(once_more, dict) and once_more["choices"] == done["choices"]
