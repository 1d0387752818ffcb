"""A real kernel, killed with SIGKILL in the middle of a tool call."""

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from live_kernel import LiveKernel, live_kernel

import orlop
from orlop.abi.calls import CallTool
from orlop.devices.shim import is_alive

PATIENCE_S: Final = 120.0
TOOL: Final = """
[tools.order]
command = ["{python}", "-I", "-S", "{script}", "{shop}", "order"]
query = ["{python}", "-I", "-S", "{script}", "{shop}", "query"]
effect = "queryable"
"""


def rows(shop: Path, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(shop, timeout=30)) as opened:
        return opened.execute(question).fetchall()


def attempts(shop: Path, wanted: int) -> list[tuple[int, int]]:
    """The tool's process and its child's, once there are as many as wanted."""
    give_up_s = time.monotonic() + PATIENCE_S
    while len(found := rows(shop, "SELECT pid, child FROM attempt ORDER BY rowid")) < wanted:
        assert time.monotonic() < give_up_s, f"{len(found)} attempts, not {wanted}"
        time.sleep(0.02)
    return [(int(str(pid)), int(str(child))) for pid, child in found]


def place_order(kernel: LiveKernel) -> None:
    with orlop.connect_sync(kernel.url, token=kernel.key, process="buyer") as connected:
        connected.call(CallTool(tool="order"))


def test_a_tool_that_works_when_its_kernel_is_killed_ends_and_is_asked_only_then(
    tmp_path: Path,
) -> None:
    shop = tmp_path / "shop.db"
    with closing(sqlite3.connect(shop)) as opened, opened:
        opened.execute("CREATE TABLE attempt(pid INTEGER, child INTEGER)")
        opened.execute("CREATE TABLE effect(key TEXT)")
    script = Path(__file__).with_name("slow_order.py")
    with live_kernel(TOOL.format(python=sys.executable, script=script, shop=shop)) as kernel:
        doomed = int(json.loads(kernel.orlop("info", "--json"))["os_pid"])
        buyer = threading.Thread(target=place_order, args=(kernel,))
        buyer.start()
        first = attempts(shop, 1)[0]
        assert all(is_alive(pid, None) for pid in first)
        os.kill(doomed, signal.SIGKILL)
        attempts(shop, 2)
        assert not any(is_alive(pid, None) for pid in first)
        assert rows(shop, "SELECT * FROM effect") == []
        buyer.join(PATIENCE_S)
        assert not buyer.is_alive()
        assert len(rows(shop, "SELECT key FROM effect")) == 1
        assert len(attempts(shop, 2)) == 2
