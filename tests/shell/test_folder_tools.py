"""A folder of orlop.toml, as agents and people meet it on a real kernel."""

import json
import threading
import time
from pathlib import Path

from live_kernel import live_kernel

import orlop

PATIENCE_S = 60.0


def test_a_person_sees_the_difference_and_the_file_changes_when_he_agrees(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("Monday\nTuesday\n")
    config = f'[folders.plans]\npath = "{tmp_path}"\nwrites = true\napproval = "always"\n'
    with live_kernel(config) as kernel:
        listed = {tool["name"] for tool in json.loads(kernel.orlop("tools", "--json"))}
        assert {"plans.list", "plans.read", "plans.write", "plans.undo"} <= listed
        with orlop.connect_sync(kernel.url, token=kernel.key, process="planner") as agent:
            read = agent.call_tool("plans.read", path="plan.md")
            assert isinstance(read, dict) and read["text"] == "Monday\nTuesday\n"
            answers: list[object] = []

            def write() -> None:
                with orlop.connect_sync(kernel.url, token=kernel.key, process="writer") as other:
                    asked = {"path": "plan.md", "text": "Monday\n", "if_version": read["version"]}
                    answers.append(other.call_tool("plans.write", **asked))

            writing = threading.Thread(target=write)
            writing.start()
            give_up_s = time.monotonic() + PATIENCE_S
            while not (waiting := json.loads(kernel.orlop("approvals", "--json"))):
                assert time.monotonic() < give_up_s
                time.sleep(0.1)
            assert "-Tuesday" in kernel.orlop("approvals", "show", waiting[0]["id"])
            assert (tmp_path / "plan.md").read_text() == "Monday\nTuesday\n"
            kernel.orlop("approve", waiting[0]["id"], "--as", "ada")
            writing.join(PATIENCE_S)
            assert (tmp_path / "plan.md").read_text() == "Monday\n"
            assert isinstance(answers[0], dict) and answers[0]["size"] == 7
