"""Approvals and questions from the SDK and the command line, on a real kernel that is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from live_kernel import ORLOP, LiveKernel, live_kernel

import orlop

CONFIG = """
[tools.pay]
command = ["{python}", "-c", "import sys; print(sys.stdin.read()); open('{paid}', 'a').write('x')"]
approval = "always"
"""


class Asking:
    """An agent that waits for its answer in a thread."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.said: object = None
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.said = self._work()
        except orlop.KernelError as error:
            self.said = error

    def answer(self) -> object:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.said


def waiting(kernel: LiveKernel) -> dict[str, object]:
    """The one thing that waits for a person."""
    give_up_s = time.monotonic() + 60
    while not (rows := json.loads(kernel.orlop("approvals", "--json"))):
        assert time.monotonic() < give_up_s, "nothing waits"
    assert len(rows) == 1
    return dict(rows[0])


def test_a_person_approves_denies_and_answers_and_a_killed_kernel_forgets_nothing(
    tmp_path: Path,
) -> None:
    paid = tmp_path / "paid"
    with live_kernel(CONFIG.format(python=sys.executable, paid=paid)) as kernel:

        def agent() -> orlop.SyncKernel:
            return orlop.connect_sync(kernel.url, token=kernel.key, process="agent")

        def pay(to: str) -> object:
            with agent() as connected:
                return connected.call_tool("pay", to=to)

        def ask() -> object:
            with agent() as connected:
                return connected.ask("which colour?", choices=["red", "blue"])

        call = Asking(lambda: pay("Ada"))
        row = waiting(kernel)
        assert row["arguments"] == {"to": "Ada"}
        os.kill(json.loads(kernel.orlop("info", "--json"))["os_pid"], signal.SIGKILL)
        assert waiting(kernel)["id"] == row["id"]
        assert not paid.exists()
        kernel.orlop("approve", str(row["id"]), "--as", "Grace", "--minutes", "1.5")
        assert call.answer() == {"to": "Ada"}
        assert paid.read_text() == "x"

        twice = subprocess.run(
            [*ORLOP, "deny", str(row["id"])],
            env={**os.environ, "ORLOP_HOME": str(kernel.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert twice.returncode != 0 and "can't be answered twice" in twice.stderr

        call = Asking(lambda: pay("Eve"))
        kernel.orlop("deny", str(waiting(kernel)["id"]), "--note", "unknown payee")
        refused = call.answer()
        assert isinstance(refused, orlop.KernelError) and "unknown payee" in refused.message
        assert paid.read_text() == "x"

        question = Asking(ask)
        kernel.orlop("answer", str(waiting(kernel)["id"]), "blue")
        assert question.answer() == "blue"

        shown = kernel.orlop("approvals", "--all")
        assert "Grace" in shown and "unknown payee" in shown and "done" in shown
