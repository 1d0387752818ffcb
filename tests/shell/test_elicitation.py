"""What an MCP server of others wants to know in the middle of a call, a person answers."""

import json
import sys
import threading
import time
from pathlib import Path

import pytest
from live_kernel import LiveKernel, live_kernel

import orlop

SERVER = Path(__file__).with_name("mcp_that_asks.py")
CONFIG = """
[mcp.desk]
command = ["{python}", "{server}"]
protocol = "{protocol}"
elicits = true
timeout_s = 120
"""
PATIENCE_S = 60.0


def waiting(kernel: LiveKernel) -> dict[str, object]:
    give_up_s = time.monotonic() + PATIENCE_S
    while not (rows := json.loads(kernel.orlop("approvals", "--json"))):
        assert time.monotonic() < give_up_s, "nobody is asked"
        time.sleep(0.1)
    return dict(rows[0])


@pytest.mark.parametrize("protocol", ["handshake", "stateless"])
def test_a_person_fills_in_the_form_and_the_call_goes_on(protocol: str) -> None:
    config = CONFIG.format(python=sys.executable, server=SERVER, protocol=protocol)
    with live_kernel(config) as kernel:
        said: list[object] = []

        def book(table: int) -> threading.Thread:
            def call() -> None:
                with orlop.connect_sync(kernel.url, token=kernel.key, process="desk") as connected:
                    try:
                        said.append(connected.call_tool("desk.book", table=table))
                    except orlop.KernelError as error:
                        said.append(error)

            thread = threading.Thread(target=call)
            thread.start()
            return thread

        give_up_s = time.monotonic() + PATIENCE_S
        while "desk.book" not in kernel.orlop("tools"):
            assert time.monotonic() < give_up_s
            time.sleep(0.1)
        first = book(7)
        row = waiting(kernel)
        assert row["form"] == "elicitation" and "for whom is it?" in str(row["text"])
        assert row["arguments"] == {"table": 7}
        wrong = kernel.orlop  # A word that does not fit the form is refused, and nothing is lost.
        with pytest.raises(AssertionError, match="urgent"):
            wrong("answer", str(row["id"]), '{"name": "Ada"}')
        kernel.orlop("answer", str(row["id"]), '{"name": "Ada", "urgent": true}', "--as", "Grace")
        first.join(PATIENCE_S)
        assert "table 7 for Ada, now" in str(said)

        second = book(8)
        kernel.orlop("deny", str(waiting(kernel)["id"]), "--as", "Grace")
        second.join(PATIENCE_S)
        assert isinstance(said[1], orlop.KernelError)
