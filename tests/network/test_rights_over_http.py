"""Rights and tokens as their users meet them: commands, HTTP, real processes."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from exact_client import CALLS, CHAT, ask, chat, error_of, operator_token
from live_kernel import LiveKernel, live_kernel, orlop

import orlop as orlop_sdk
from orlop.abi.errors import Denied

TELL = "echo $ORLOP_TOKEN; sleep 600"
TOOL = json.dumps({"type": "call_tool", "tool": "echo", "arguments": {}}).encode()
CONFIG = """
[tools.echo]
command = ["cat"]
effect = "pure"
"""


@dataclass(frozen=True, slots=True)
class Agent:
    pid: str
    token: str


@pytest.fixture(scope="module")
def kernel() -> Iterator[LiveKernel]:
    with live_kernel(CONFIG) as running:
        yield running


def agent(kernel: LiveKernel, *options: str) -> Agent:
    """A process that tells its token and stays."""
    pid = kernel.orlop("run", "-d", *options, "--", "sh", "-c", TELL).strip()
    return Agent(pid, told(kernel, pid))


def told(kernel: LiveKernel, pid: str, lines: int = 1) -> str:
    give_up_s = time.monotonic() + 20
    while time.monotonic() < give_up_s:
        said = kernel.orlop("logs", pid).split()
        if len(said) >= lines:
            return said[-1]
        time.sleep(0.05)
    raise AssertionError(f"process {pid} says nothing")


def refused(kernel: LiveKernel, token: str, path: str = CHAT, body: bytes = b"") -> tuple[int, str]:
    """Status, and the error's code."""
    answer = ask(kernel, path, body or chat(), token=token)
    return answer.status, error_of(answer, path) if answer.status >= 400 else ""


def events(kernel: LiveKernel, kind: str) -> Sequence[dict[str, dict[str, str]]]:
    lines = kernel.orlop("journal", "export").splitlines()
    return [line for line in map(json.loads, lines) if line["header"]["kind"] == kind]


def test_a_program_may_do_what_it_was_allowed(kernel: LiveKernel) -> None:
    shopper = agent(kernel, "--allow", "model:fake")
    assert refused(kernel, shopper.token) == (200, "")
    assert refused(kernel, shopper.token, CALLS, TOOL) == (403, "E1102")
    assert json.loads(kernel.orlop("rights", shopper.pid, "--json"))["rights"] == ["model:fake"]
    assert "tool:echo" in str(events(kernel, "right.refused")[-1])


def test_a_process_is_given_its_token_anew_with_what_was_granted(kernel: LiveKernel) -> None:
    shopper = agent(kernel, "--allow", "model:fake")
    kernel.orlop("rights", "grant", shopper.pid, "tool:*")
    with pytest.raises(Denied):
        orlop_sdk.narrowed(shopper.token, allow=["tool:echo"])
    with orlop_sdk.connect_sync(kernel.url, token=shopper.token) as connected:
        narrow = orlop_sdk.narrowed(connected.token(), allow=["tool:echo"])
    assert refused(kernel, narrow, CALLS, TOOL) == (200, "")
    again = ask(kernel, "/orlop/v1/token", b"", token=narrow)
    assert again.status == 403
    with orlop_sdk.connect_sync(kernel.url, token=kernel.key, process="named") as client:
        brief = orlop_sdk.narrowed(client.token(), allow=["model"], expires_s=60)
    assert refused(kernel, brief) == (200, "")
    assert refused(kernel, brief, CALLS, TOOL) == (403, "E1102")


def test_an_operator_gives_and_takes(kernel: LiveKernel) -> None:
    shopper = agent(kernel, "--allow", "model:fake")
    kernel.orlop("rights", "grant", shopper.pid, "tool:*")
    assert refused(kernel, shopper.token, CALLS, TOOL) == (200, "")
    kernel.orlop("rights", "revoke", shopper.pid, "tool:*")
    assert refused(kernel, shopper.token, CALLS, TOOL) == (403, "E1102")


def test_a_token_is_narrowed_without_the_kernel(kernel: LiveKernel) -> None:
    shopper = agent(kernel)
    narrow = orlop(kernel.home, ("token", "narrow", shopper.token, "--allow", "tool:echo")).strip()
    assert refused(kernel, narrow, CALLS, TOOL) == (200, "")
    assert refused(kernel, narrow) == (403, "E1102")
    assert refused(kernel, shopper.token) == (200, "")
    with pytest.raises(Denied):
        orlop_sdk.narrowed(narrow, allow=["model"])
    listed = ask(kernel, "/v1/models", token=narrow).json()
    assert listed["data"] == []


def test_a_narrowed_token_ends_by_itself(kernel: LiveKernel) -> None:
    brief = orlop_sdk.narrowed(agent(kernel).token, expires_s=1)
    assert refused(kernel, brief) == (200, "")
    time.sleep(2.1)
    assert refused(kernel, brief) == (401, "E1105")
    assert "expired token" in str(events(kernel, "right.refused")[-1])


def test_one_narrowed_token_is_revoked_with_all_that_came_of_it(kernel: LiveKernel) -> None:
    shopper = agent(kernel)
    one = orlop_sdk.narrowed(shopper.token, allow=["model"])
    of_one = orlop_sdk.narrowed(one, allow=["model:fake"])
    other = orlop_sdk.narrowed(shopper.token, allow=["model"])
    kernel.orlop("token", "revoke", one, "--reason", "lost on a train")
    assert refused(kernel, one) == refused(kernel, of_one) == (401, "E1105")
    assert refused(kernel, other) == (200, "")
    shown = json.loads(kernel.orlop("token", "show", of_one, "--json"))
    assert "lost on a train" in shown["refusal"]
    assert [block["revoked"] for block in shown["blocks"]] == [False, True, False]
    kernel.orlop("token", "revoke", shopper.pid)
    assert refused(kernel, shopper.token) == refused(kernel, other) == (401, "E1105")


def test_what_was_revoked_is_so_for_the_next_kernel_too() -> None:
    with live_kernel(CONFIG) as kernel:
        shopper = agent(kernel)
        narrow = orlop_sdk.narrowed(shopper.token, allow=["model"])
        kernel.orlop("token", "revoke", narrow)
        os_pid = json.loads(kernel.orlop("info", "--json"))["os_pid"]
        _kill(os_pid)
        assert refused(kernel, narrow) == (401, "E1105")
        assert refused(kernel, shopper.token) == (200, "")


def test_tokens_of_an_earlier_key_are_accepted_for_a_while() -> None:
    with live_kernel(CONFIG) as kernel:
        before = agent(kernel)
        kernel.orlop("key", "rotate", "--accept", "2s")
        after = agent(kernel)
        assert refused(kernel, before.token) == refused(kernel, after.token) == (200, "")
        time.sleep(2.2)
        status, code = refused(kernel, before.token)
        assert (status, code) in ((401, "E1105"), (401, "E1101"))
        assert refused(kernel, after.token) == (200, "")
        kernel.orlop("key", "rotate", "--accept", "0")
        assert refused(kernel, after.token)[0] == 401
        assert len(events(kernel, "token.key_made")) == 2


def test_a_clients_key_has_rights_and_an_end(kernel: LiveKernel) -> None:
    made = kernel.orlop("key", "create", "shop", "--allow", "tool:echo", "--expires", "2s").strip()
    assert refused(kernel, made, CALLS, TOOL) == (200, "")
    assert refused(kernel, made) == (403, "E1102")
    time.sleep(2.1)
    assert refused(kernel, made, CALLS, TOOL) == (401, "E1105")


def test_metrics_take_a_token_with_that_right(kernel: LiveKernel) -> None:
    watcher = kernel.orlop("key", "create", "prometheus", "--allow", "metrics").strip()
    assert ask(kernel, "/metrics", token="").status == 401
    assert ask(kernel, "/metrics", token=watcher).status == 200
    assert ask(kernel, "/metrics", token=operator_token(kernel)).status == 200
    without = kernel.orlop("key", "create", "chat", "--allow", "model").strip()
    assert ask(kernel, "/metrics", token=without).status == 403
    assert ask(kernel, "/openapi.json", token=without).status == 200


def test_what_is_said_to_be_open_is_open() -> None:
    with live_kernel('[http]\nopen = ["metrics"]\n') as kernel:
        assert ask(kernel, "/metrics", token="").status == 200
        assert ask(kernel, "/openapi.json", token="").status == 401


def test_a_child_of_a_narrow_process_is_narrow(kernel: LiveKernel) -> None:
    program = (
        "import orlop, sys, time\n"
        "kernel = orlop.connect_sync()\n"
        "child = kernel.spawn(['sh', '-c', 'echo $ORLOP_TOKEN; sleep 600'], allow=['model:fake'])\n"
        "print(child.pid, flush=True)\n"
        "try:\n"
        "    kernel.spawn(['true'], allow=['tool'])\n"
        "except orlop.KernelError as error:\n"
        "    print(error.code, flush=True)\n"
        "time.sleep(600)\n"
    )
    allow = ("--allow", "spawn", "--allow", "model")
    pid = kernel.orlop("run", "-d", *allow, "--", sys.executable, "-c", program).strip()
    assert told(kernel, pid, lines=2) == "E1102"
    child = kernel.orlop("logs", pid).split()[0]
    token = told(kernel, child)
    assert refused(kernel, token) == (200, "")
    assert refused(kernel, token, CALLS, TOOL) == (403, "E1102")


def _kill(os_pid: int) -> None:
    os.kill(os_pid, signal.SIGKILL)
    time.sleep(0.5)
