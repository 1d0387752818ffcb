"""Writes the golden journal of a release: `python tests/golden/journals/write.py 0.1`.

A live kernel with fake engines runs a few processes; what its clients were told is kept beside the
journal.  The keys in the folder are of this home alone and protect nothing.  A release's journal is
written once, when the release is made, and never again: later kernels must still read it.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from exact_client import CALLS, CHAT, MESSAGES, RESPONSES, Answer, ask, chat, operator_token
from golden_home import Exchanged, Golden, tables_of
from live_kernel import LiveKernel, live_kernel

HERE = Path(__file__).parent
KEPT = ("journal.db", "journal.db-wal", "journal.anchor", "journal.checkpoints", "keys")
CONFIG = """
[kernel]
snapshot_events = 60

[tools.order]
command = ["cat"]
effect = "idempotent"
"""
SYSTEM = {"role": "system", "content": "You answer customers of a bookshop."}
TOOL = {"type": "function", "function": {"name": "order", "parameters": {"type": "object"}}}


class Scribe:
    """Asks, and writes down what it asked and got."""

    def __init__(self, kernel: LiveKernel) -> None:
        self._kernel = kernel
        self.exchanged: list[Exchanged] = []

    def ask(self, process: str, path: str, body: bytes) -> Answer:
        answer = ask(self._kernel, path, body, headers={"orlop-process": process})
        said = Exchanged(process, path, body.decode(), answer.status, answer.body.decode())
        self.exchanged.append(said)
        return answer

    def order(self, path: str, **body: object) -> Answer:
        token = operator_token(self._kernel)
        answer = ask(self._kernel, f"/orlop/v1/{path}", json.dumps(body).encode(), token=token)
        assert answer.status < 300, answer
        return answer


def speak(scribe: Scribe) -> None:
    """Every dialect, streamed and not, with tools, logprobs and a conversation that grows."""
    user = {"role": "user", "content": "Where is my order?"}
    talk = [SYSTEM, user]
    for turn in range(4):
        answer = scribe.ask("talker", CHAT, chat_of(talk, stream=turn % 2 == 1))
        talk = [*talk, {"role": "assistant", "content": f"Answer {turn}."}, user]
        assert answer.status == 200, answer
    asked = '[[tool order {"number": 7}]]'
    scribe.ask("talker", CHAT, chat(text=asked, tools=[TOOL]))
    scribe.ask("talker", CHAT, chat(text=asked, tools=[TOOL], stream=True))
    scribe.ask("talker", CHAT, chat(text="Zwei, bitte \u2603", n=2, logprobs=True, top_logprobs=2))
    scribe.ask("talker", RESPONSES, b'{"model": "fake", "input": "hello", "stream": true}')
    scribe.ask("talker", RESPONSES, b'{"model": "fake", "input": "hello again"}')
    scribe.ask("talker", MESSAGES, chat(max_tokens=8, stream=True))
    scribe.ask("talker", MESSAGES, chat(max_tokens=8))
    scribe.ask("talker", "/v1/completions", b'{"model": "fake", "prompt": ["once", "twice"]}')
    scribe.ask("talker", "/v1/embeddings", b'{"model": "fake-embed", "input": ["a b", "c"]}')
    scribe.ask("talker", CHAT, chat("breaking", text="break"))


def chat_of(messages: list[dict[str, str]], *, stream: bool) -> bytes:
    return json.dumps({"model": "fake", "messages": messages, "stream": stream}).encode()


def act(scribe: Scribe) -> None:
    """A tool twice with the same words, a short sleep, an outcome, an exit."""
    tool = b'{"type": "call_tool", "tool": "order", "arguments": {"number": 7}}'
    scribe.ask("doer", CALLS, tool)
    scribe.ask("doer", CALLS, tool)
    scribe.ask("doer", CALLS, b'{"type": "sleep", "seconds": 0.01}')
    scribe.ask("doer", CALLS, b'{"type": "outcome", "status": "succeeded", "note": "shipped"}')


def wander(scribe: Scribe) -> None:
    """A process that is resumed, and then makes a call that its record does not hold."""
    scribe.ask("wanderer", CHAT, chat(text="the path"))
    scribe.order("processes/wanderer/signal", signal="kill")
    scribe.order("processes/wanderer/resume")
    answer = scribe.ask("wanderer", CHAT, chat(text="another path"))
    assert answer.status == 409, answer
    scribe.order("processes/wanderer/signal", signal="kill")


def run(scribe: Scribe) -> None:
    """Programs: one that ends well, one that fails and is restarted, and schedules."""
    env = {"PATH": "/usr/bin:/bin"}
    scribe.order("processes", command=["echo", "hello"], env=env, cwd="/", budget={"calls": 5})
    scribe.order("processes", command=["false"], env=env, cwd="/", restart="on-failure")
    scribe.order("schedules", when="every 1s", command=["true"], env=env, cwd="/", name="often")
    scribe.order("schedules", when="at 2099-01-01T00:00", command=["true"], zone="Europe/Berlin")
    time.sleep(2.5)


def main(release: str) -> None:
    folder = HERE / release
    if folder.exists():
        sys.exit(f"{folder} is there: a release's journal is never written again")
    with live_kernel(CONFIG) as kernel:
        scribe = Scribe(kernel)
        for chapter in (speak, act, wander, run):
            chapter(scribe)
        kernel.orlop("schedule", "remove", "often")
        kernel.orlop("down")
        folder.mkdir()
        for name in KEPT:
            path = kernel.home / name
            if path.is_dir():
                shutil.copytree(path, folder / name)
            elif path.exists():
                shutil.copy(path, folder / name)
        key = kernel.key
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(folder, Path(scratch) / "home")
        tables = asyncio.run(tables_of(Path(scratch) / "home"))
    golden = Golden(key=key, tables=msgspec.Raw(tables), exchanged=tuple(scribe.exchanged))
    text = msgspec.json.format(msgspec.json.encode(golden), indent=1)
    (folder / "golden.json").write_bytes(text + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
