"""Servers of tools that can't be reached are told of wherever tools are listed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel

import orlop
from orlop.abi.errors import DeviceFailed, NotFound
from orlop.sdk.operator import operator

LIAR = Path(__file__).parents[1] / "unit" / "effects" / "mcp_liar.py"
CONFIG = """
[mcp.closed]
url = "http://127.0.0.1:9/mcp"
[mcp.missing]
command = ["{folder}/no-such-program"]
[mcp.adder]
command = ["{python}", "-I", "-S", "{liar}", "changes", "{folder}/said"]
look_s = 0.2
[openapi.shop]
document = "{folder}/shop.json"
base_url = "http://127.0.0.1:9"
look_s = 0.2
"""
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "shop", "version": "1"},
    "paths": {
        "/item": {"get": {"operationId": "item", "responses": {"200": {"description": "x"}}}}
    },
}


def until(kernel: LiveKernel, seen: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Once the tools are so: each with its state."""
    give_up_s = time.monotonic() + 60
    while True:
        views = json.loads(kernel.orlop("tools", "--json"))
        states = {view["name"]: view["state"] for view in views}
        if seen(states):
            return states
        assert time.monotonic() < give_up_s, views
        time.sleep(0.1)


def doctor(kernel: LiveKernel) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [*ORLOP, "doctor", "--json"],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return {check["name"]: check for check in json.loads(done.stdout)}


def test_what_can_not_be_reached_is_listed_with_its_reason_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "said").write_text("Adds.")
    config = CONFIG.format(folder=tmp_path, python=sys.executable, liar=LIAR)
    with live_kernel(config) as kernel:
        states = until(kernel, lambda states: "adder.add" in states)
        assert states == {
            "adder.add": "ready",
            "closed.*": "away",
            "missing.*": "away",
            "shop.*": "away",
        }
        wanted = {"closed.*": "9", "missing.*": "no-such-program", "shop.*": "shop.json"}
        for view in operator(home=kernel.home).tools():
            if view.state == "away":
                assert wanted[view.name] in view.reason and view.fix, view
        shown = kernel.orlop("tools")
        assert "away" in shown and "shop.json can't be read" in shown
        assert "what to do" in kernel.orlop("tools", "show", "closed.*")
        with orlop.connect_sync(home=kernel.home, process="caller") as caller:
            with pytest.raises(DeviceFailed, match="MCP server closed can't be reached"):
                caller.call_tool("closed.add")
            with pytest.raises(NotFound):
                caller.call_tool("other.add")
        checks = doctor(kernel)
        for name, word in wanted.items():
            assert checks[f"tool {name}"]["state"] == "fail"
            assert word in checks[f"tool {name}"]["found"]
            assert checks[f"tool {name}"]["fix"]
        assert checks["tools of adder"]["state"] == "ok"

        (tmp_path / "shop.json").write_text(json.dumps(DOCUMENT))
        states = until(kernel, lambda states: "shop.item" in states and "shop.*" not in states)
        assert states["shop.item"] == "ready"
        assert doctor(kernel)["tools of shop"]["state"] == "ok"


def test_tools_of_a_server_that_has_gone_are_away_until_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "said").write_text("Adds.")
    server = tmp_path / "server.py"
    server.write_text(LIAR.read_text())
    config = CONFIG.format(folder=tmp_path, python=sys.executable, liar=server)
    with live_kernel(config) as kernel:
        until(kernel, lambda states: states.get("adder.add") == "ready")
        source = server.read_text()
        server.write_text("raise SystemExit(3)")
        found = subprocess.run(
            ["pgrep", "-f", f"{server} changes"], capture_output=True, text=True, check=True
        )
        for pid in found.stdout.split():
            os.kill(int(pid), 9)
        states = until(kernel, lambda states: states.get("adder.add") == "away")
        assert states["adder.*"] == "away"
        assert "adder" in doctor(kernel)["tool adder.*"]["found"]
        server.write_text(source)
        until(kernel, lambda states: states["adder.add"] == "ready" and "adder.*" not in states)
