"""Agents as functions, and as programs of their own."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_kernel import FACTS, Said, ScriptedKernel, completion, scripted_kernel

import orlop
from orlop.abi.errors import BadCall
from orlop.sdk.agent import load

CALLS = "POST /orlop/v1/calls"
AGENTS = Path(__file__).with_name("example_agents.py")
OK = Said({"type": "ok", "facts": FACTS})


def _start(scripted: ScriptedKernel, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ORLOP_SOCKET": str(scripted.socket),
        "ORLOP_TOKEN": "its own",
        "ORLOP_PROCESS": "prc_1",
    }
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_an_agent_is_still_a_function(tmp_path: Path) -> None:
    greeter = load(f"{AGENTS}:greeter")

    async def scenario() -> object:
        async with orlop.connect(home=tmp_path) as kernel:
            return await greeter(kernel, "Ada", times=2)

    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, Said(completion("Hi! ")))
        assert asyncio.run(scenario()) == "Hi! Hi! "
    assert greeter.__doc__ == "Asks a model to greet."


def test_an_agent_as_a_program_states_what_it_returned(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "orlop.sdk.agent", f"{AGENTS}:greeter", '["Ada",2]')
    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, Said(completion("Hi! ")), OK)
        ended = _start(scripted, *command)
    assert (ended.returncode, ended.stderr) == (0, "")
    infer, outcome = scripted.heard
    assert infer.fields["Authorization"] == "Bearer its own"
    assert outcome.json() | {"hints": {}} == {
        "type": "outcome",
        "status": "succeeded",
        "note": "Hi! Hi! ",
        "hints": {},
    }


def test_an_agent_that_raises_ends_in_status_1_and_says_why(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "orlop.sdk.agent", f"{AGENTS}:loser", "[]")
    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, OK)
        ended = _start(scripted, *command)
    assert ended.returncode == 1
    assert "ValueError: nothing works" in ended.stderr
    assert scripted.heard[0].json()["note"] == "ValueError: nothing works"


def test_an_agent_may_state_its_own_outcome(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "orlop.sdk.agent", f"{AGENTS}:modest", "[]")
    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, OK)
        ended = _start(scripted, *command)
    assert ended.returncode == 0
    assert [heard.json()["note"] for heard in scripted.heard] == ["by hand, please"]


def test_a_script_spawns_its_own_agents_by_its_path(tmp_path: Path) -> None:
    script = tmp_path / "desk.py"
    script.write_text(
        "import orlop\n"
        "@orlop.agent\n"
        "async def child(kernel, word):\n"
        "    return word.upper()\n"
        "@orlop.agent\n"
        "async def desk(kernel):\n"
        "    await kernel.spawn(child, 'x', name='kid')\n"
        "if __name__ == '__main__':\n"
        "    desk.run()\n"
    )
    spawned = {"type": "spawned", "process": "prc_7", "pid": 7, "facts": FACTS}
    with scripted_kernel(tmp_path / "home") as scripted:
        scripted.says(CALLS, Said(spawned), OK)
        assert _start(scripted, sys.executable, str(script)).stderr == ""
        command = scripted.heard[0].json()["command"]
        assert isinstance(command, list)
        assert command[1:] == ["-m", "orlop.sdk.agent", f"{script}:child", '["x"]']
        assert _start(scripted, *command).stderr == ""
    assert scripted.heard[1].json()["note"] == "X"


def test_an_agent_of_a_script_started_by_its_path_can_be_spawned_again() -> None:
    assert load(f"{AGENTS}:greeter").command("Ada")[3:] == (f"{AGENTS}:greeter", '["Ada"]')


def test_an_agent_in_a_module_is_named_by_its_module() -> None:
    assert load("unit.sdk.example_agents:loser").command()[3] == "unit.sdk.example_agents:loser"


def test_what_is_no_agent_is_refused() -> None:
    with pytest.raises(BadCall, match=r"os:getcwd is no @orlop\.agent"):
        load("os:getcwd")
