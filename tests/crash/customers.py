"""Clients that go on asking while the kernel is killed under them, and remember the answers."""

import itertools
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import openai
from live_kernel import LiveKernel
from openai import OpenAI

import orlop
from orlop.abi.calls import CallTool
from orlop.abi.replies import ToolResult

RETRIES = 20
PAUSE_S = 0.01


@dataclass(eq=False)
class Customers:
    """`told`: by question, the reply's id and text.  `done`: orders that a tool was told done."""

    kernel: LiveKernel
    stopping: threading.Event = field(default_factory=threading.Event)
    told: dict[str, tuple[str, str]] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    """Orders by the call that did them."""
    failures: list[BaseException] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for number in range(2):
            self._begin(self._chats, f"chat{number}")
            self._begin(self._streams, f"stream{number}")
            self._begin(self._orders, f"order{number}")

    def stop(self) -> None:
        """Each ends its last call first; raises what any of them met."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} still waits for its answer"
        if self.failures:
            raise self.failures[0]

    def told_again(self, question: str) -> tuple[str, str]:
        """What a client hears that lost the answer and asks again, byte for byte."""
        body = {"model": "fake", "messages": [{"role": "user", "content": question}]}
        request = urllib.request.Request(
            f"{self.kernel.url}/v1/chat/completions",
            json.dumps(body).encode(),
            {
                "authorization": f"Bearer {self.kernel.key}",
                "content-type": "application/json",
                "orlop-process": question.split()[0],
                "x-stainless-retry-count": "1",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            reply = json.load(response)
        return reply["id"], reply["choices"][0]["message"]["content"]

    def _begin(self, work: Callable[[str], None], name: str) -> None:
        def run() -> None:
            try:
                work(name)
            except BaseException as error:
                self.failures.append(error)

        thread = threading.Thread(target=run, name=name)
        self._threads.append(thread)
        thread.start()

    def _client(self, name: str) -> OpenAI:
        return OpenAI(
            base_url=f"{self.kernel.url}/v1",
            api_key=self.kernel.key,
            max_retries=RETRIES,
            default_headers={"orlop-process": name},
        )

    def _chats(self, name: str) -> None:
        with self._client(name) as client:
            for number in self._until_stopped():
                question = f"{name} asks {number}"
                reply = client.chat.completions.create(
                    model="fake", messages=[{"role": "user", "content": question}]
                )
                self.told[question] = reply.id, reply.choices[0].message.content or ""

    def _streams(self, name: str) -> None:
        """The official client does not repeat a stream that broke: its user does, and says so."""
        with self._client(name) as client:
            for number in self._until_stopped():
                question = f"{name} asks {number}"
                told = None
                attempt = 0
                while told is None:
                    told = self._stream(client, question, attempt)
                    attempt += 1
                self.told[question] = told

    def _stream(self, client: OpenAI, question: str, attempt: int) -> tuple[str, str] | None:
        id, text = "", ""
        try:
            for chunk in client.chat.completions.create(
                model="fake",
                messages=[{"role": "user", "content": question}],
                stream=True,
                extra_headers={"x-stainless-retry-count": str(attempt)} if attempt else None,
            ):
                id = chunk.id
                if chunk.choices:
                    text += chunk.choices[0].delta.content or ""
                    if chunk.choices[0].finish_reason is not None:
                        return id, text
        except (openai.APIError, OSError):
            time.sleep(PAUSE_S)
        return None

    def _orders(self, name: str) -> None:
        with orlop.connect_sync(self.kernel.url, token=self.kernel.key, process=name) as kernel:
            for number in self._until_stopped():
                order = f"{name}-{number}"
                done = kernel.call(CallTool(tool="write", arguments={"order": order}))
                assert isinstance(done, ToolResult)
                self.done[order] = done.facts.call

    def _until_stopped(self) -> Iterator[int]:
        return itertools.takewhile(lambda _: not self.stopping.is_set(), itertools.count())
