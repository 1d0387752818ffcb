"""People at a real kernel: their tokens, batches, grants, levels, signed webhooks both ways."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel

import orlop
from orlop.wire import webhook

CONFIG = """
[tools.pay]
command = ["{python}", "-c", "import sys; print(sys.stdin.read())"]
approval = "always"
[tools.refund]
command = ["{python}", "-c", "import sys; print(sys.stdin.read())"]
[people]
hourly_rate = 60.0
webhook_url = "http://127.0.0.1:{port}/hook"
webhook_answers = true
[autonomy.refunds]
tools = ["refund"]
start = "observe"
[escalations.all]
steps = [{{ to = ["grace"] }}]
end = "deny"
end_s = 86400
"""
PATIENCE_S = 60.0


class Receiver(http.server.BaseHTTPRequestHandler):
    """What the operator's people are told by."""

    got: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append(({name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@contextmanager
def receiver() -> Iterator[tuple[int, list[tuple[dict[str, str], bytes]]]]:
    got: list[tuple[dict[str, str], bytes]] = []
    handler = type("Handler", (Receiver,), {"got": got})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class House:
    """A kernel, Grace's own token, and what her webhook has got."""

    kernel: LiveKernel
    token: str
    got: list[tuple[dict[str, str], bytes]]

    def run(self, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ORLOP, *words],
            env={**os.environ, "ORLOP_HOME": str(self.kernel.home), "ORLOP_PERSON_TOKEN": token},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def grace(self, *words: str) -> str:
        """What a command prints that Grace gives."""
        done = self.run(*words, token=self.token)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with (
        receiver() as (port, got),
        live_kernel(CONFIG.format(python=sys.executable, port=port)) as kernel,
    ):
        token = json.loads(kernel.orlop("people", "add", "grace", "--json"))["token"]
        yield House(kernel, token, got)


def waiting(house: "House", agent: str, wanted: int = 1) -> list[dict[str, object]]:
    """What an agent's calls wait for, once it is so many."""
    give_up_s = time.monotonic() + PATIENCE_S
    command = ("approvals", "--agent", agent, "--json")
    while len(rows := json.loads(house.kernel.orlop(*command))) != wanted:
        assert time.monotonic() < give_up_s, f"{len(rows)} wait, not {wanted}"
        time.sleep(0.1)
    return list(rows)


class Agent(threading.Thread):
    """One call of a tool, and what it came to."""

    def __init__(self, house: House, agent: str, tool: str, **arguments: object) -> None:
        super().__init__()
        self._kernel, self._agent = house.kernel, agent
        self._tool, self._arguments = tool, arguments
        self.said: object = None
        self.start()

    def run(self) -> None:
        kernel = self._kernel
        try:
            with orlop.connect_sync(kernel.url, token=kernel.key, process=self._agent) as connected:
                self.said = connected.call_tool(self._tool, **self._arguments)  # type: ignore[arg-type]
        except orlop.KernelError as error:
            self.said = error

    def answer(self) -> object:
        self.join(PATIENCE_S)
        assert not self.is_alive()
        return self.said


def post(kernel: LiveKernel, path: str, body: bytes, fields: dict[str, str]) -> tuple[int, bytes]:
    request = urllib.request.Request(kernel.url + path, data=body, headers=fields)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_one_command_approves_many_in_the_name_of_who_holds_the_token(house: House) -> None:
    agents = [Agent(house, "many", "pay", to=to, amount=5) for to in ("Ada", "Eve", "Bob")]
    rows = waiting(house, "many", 3)
    believed = house.run("approve", str(rows[0]["id"]), "--as", "grace")
    assert believed.returncode != 0 and "grace has a token" in believed.stderr
    asked = house.run("approve", "--all", "--agent", "many", token=house.token)
    assert asked.returncode != 0 and "--yes" in asked.stderr
    house.grace("approve", "--all", "--agent", "many", "--tool", "pay", "--yes", "--minutes", "2")
    assert {str(agent.answer()) for agent in agents} == {
        str({"to": to, "amount": 5}) for to in ("Ada", "Eve", "Bob")
    }
    view = json.loads(house.grace("people", "--json"))
    (work,) = [one["work"] for one in view["processes"] if one["name"] == "many"]
    assert work == {"touches": {"approval": 3}, "minutes": 6.0, "cost": 6 * 10**9}
    (shown,) = [
        one
        for one in json.loads(house.kernel.orlop("ps", "--all", "--json"))
        if one["name"] == "many"
    ]
    assert (shown["human_minutes"], shown["human_cost"]) == (6.0, 6 * 10**9)


def test_a_persons_token_answers_and_makes_no_calls(house: House) -> None:
    fields = {"authorization": f"Bearer {house.token}"}
    body = b'{"type": "ask", "text": "?"}'
    assert post(house.kernel, "/orlop/v1/calls", body, fields)[0] == 403
    assert post(house.kernel, "/orlop/v1/people", b'{"name": "eve"}', fields)[0] == 403
    wrong = {"authorization": "Bearer orlh_0000"}
    assert post(house.kernel, "/orlop/v1/answers", b"{}", wrong)[0] == 401


def test_an_approval_may_be_a_grant_as_well(house: House) -> None:
    kernel = house.kernel
    first = Agent(house, "granted", "pay", to="Ada", amount=7)
    (row,) = waiting(house, "granted")
    always = ("--always", "--max", "amount=10", "--count", "2", "--for", "1h")
    house.grace("approve", str(row["id"]), *always)
    assert first.answer() == {"to": "Ada", "amount": 7}
    second = Agent(house, "granted", "pay", to="Eve", amount=9)
    assert second.answer() == {"to": "Eve", "amount": 9}
    (grant,) = json.loads(kernel.orlop("grants", "--json"))
    assert grant["grant"]["calls"] == 1 and grant["grant"]["person"] == "grace"
    assert grant["grant"]["id"] in kernel.orlop("trace", "granted")
    kernel.orlop("grants", "revoke", grant["grant"]["id"], "--as", "op")
    assert json.loads(kernel.orlop("grants", "--json")) == []


def test_levels_are_shown_explained_and_set(house: House) -> None:
    kernel = house.kernel
    observed = Agent(house, "clerk", "refund", order=1).answer()
    assert isinstance(observed, orlop.KernelError) and observed.code == "E1106"
    (row,) = waiting(house, "clerk")
    house.grace("autonomy", "agree", str(row["id"]))
    why = kernel.orlop("autonomy", "why", "clerk", "refund")
    assert "is not made" in why and "1 of 1" in why
    kernel.orlop("autonomy", "set", "clerk", "refund", "autonomous", "--as", "op")
    assert Agent(house, "clerk", "refund", order=2).answer() == {"order": 2}
    house.grace("autonomy", "incident", "clerk", "refund", "the wrong customer")
    (view,) = json.loads(kernel.orlop("autonomy", "--json"))
    assert view["row"]["level"] == "observe" and view["row"]["incidents"] == 1


def test_webhooks_tell_people_and_bring_their_word_once(house: House) -> None:
    kernel = house.kernel
    secret = webhook.secret((kernel.home / "keys" / "webhook.secret").read_text())
    agent = Agent(house, "hooked", "pay", to="Ada", amount=11)
    (row,) = waiting(house, "hooked")
    give_up_s = time.monotonic() + PATIENCE_S
    while not (heard := [one for one in house.got if str(row["id"]) in one[1].decode()]):
        assert time.monotonic() < give_up_s, "nobody was told"
        time.sleep(0.1)
    fields, body = heard[0]
    stamp = int(fields[webhook.TIMESTAMP])
    webhook.verify(secret, lambda name: fields.get(name, ""), body, stamp, 0)
    told = json.loads(body)["data"]
    assert told["to"] == ["grace"] and told["question"]["arguments"] == row["arguments"]

    path = told["answer_url"].removeprefix(kernel.url)
    said = json.dumps({"question": row["id"], "verdict": "approve", "person": "grace"}).encode()

    def sent(key: bytes, id: str, age_s: int = 0) -> int:
        now_s = int(time.time()) - age_s
        return post(kernel, path, said, webhook.headers(key, id, now_s, said))[0]

    assert sent(b"x" * 32, "msg_1") == 401
    assert sent(secret, "msg_1", age_s=3_600) == 401
    assert post(kernel, path, said, {})[0] == 401
    assert sent(secret, "msg_1") == 200
    assert sent(secret, "msg_1") == 200  # Its sender may have lost our answer.
    assert sent(secret, "msg_2") == 409
    assert agent.answer() == {"to": "Ada", "amount": 11}
    shown = json.loads(kernel.orlop("approvals", str(row["id"]), "--json"))
    assert (shown["person"], shown["proof"]) == ("grace", "webhook")


def test_an_edited_file_is_what_the_tool_gets(house: House, tmp_path: Path) -> None:
    agent = Agent(house, "edited", "pay", to="Ada", amount=900)
    (row,) = waiting(house, "edited")
    file = tmp_path / "arguments.json"
    file.write_text('{"to": "Ada", "amount": 90}')
    house.grace("approve", str(row["id"]), "--edit", str(file))
    assert agent.answer() == {"to": "Ada", "amount": 90}
    taken = Agent(house, "edited", "pay", to="Eve", amount=1)
    (row,) = waiting(house, "edited")
    house.grace("take", str(row["id"]), "--result", '"in cash"')
    assert taken.answer() == "in cash"
    text = house.kernel.orlop("approvals", "--all", "--agent", "edited")
    assert "edited" in text and '"amount": 90' in text and "changed" in text
