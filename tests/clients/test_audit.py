"""What an auditor gets: an export of a live kernel, and proofs that need a public key alone."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel, orlop
from openai import NotFoundError, OpenAI

TOOL = """
[tools.refund]
command = ["python", "-c", "print('{\\"refunded\\": true}')"]
effect = "idempotent"
approval = "always"
"""


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def fails(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*ORLOP, *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    return done.stderr


def use(kernel: LiveKernel) -> None:
    """A model call, a call that fails, and a person's word on a tool call."""
    with OpenAI(base_url=f"{kernel.url}/v1", api_key=kernel.key, max_retries=0) as client:
        client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "secret words"}]
        )
        with pytest.raises(NotFoundError):
            client.chat.completions.create(
                model="none", messages=[{"role": "user", "content": "hello"}]
            )
    program = "import orlop\nwith orlop.connect_sync() as k: k.call_tool('refund', order=7)"
    kernel.orlop("run", "-d", "--name", "clerk", "--", sys.executable, "-c", program)
    waiting: list[dict[str, object]] = []
    while not waiting:
        waiting = json.loads(kernel.orlop("approvals", "--json"))
    kernel.orlop("approve", str(waiting[0]["id"]), "--as", "grace", "--minutes", "2")
    while "exited" not in kernel.orlop("show", "clerk", "--json"):
        pass


def test_an_export_holds_who_did_what_and_each_event_can_be_proven(tmp_path: Path) -> None:
    with live_kernel(TOOL) as kernel:
        use(kernel)
        home, folder = kernel.home, tmp_path / "export"
        kernel.orlop("audit", "export", str(folder))
        people = [
            json.loads(line) for line in kernel.orlop("audit", "people", "--json").split("\n")[:-1]
        ]
        kernel.orlop("down")
        records, index = (
            read(folder / "records.jsonl"),
            json.loads((folder / "index.json").read_text()),
        )

        calls = [record for record in records if record["kind"] == "call"]
        model = next(record for record in calls if record["on"] == "fake")
        assert (model["action"], model["outcome"]) == ("infer", "done")
        refund = next(record for record in calls if record["on"] == "refund")
        assert refund["agent"] == "clerk" and str(refund["cleared_by"]).startswith("qst_")
        said = [record for record in records if record["kind"] == "person"]
        assert [(one["person"], one["outcome"], one["minutes"]) for one in said] == [
            ("grace", "approve", 2.0)
        ]
        assert people == said
        assert "secret words" not in (folder / "records.jsonl").read_text()
        for name, digest in index["sha256"].items():
            assert sha256((folder / name).read_bytes()).hexdigest() == digest

        proof = tmp_path / "proof.json"
        orlop(home, ("journal", "prove", str(refund["seq"]), "--out", str(proof)))
        key = str(folder / "journal.pub")
        shown = json.loads(
            orlop(tmp_path, ("journal", "check-proof", str(proof), "--key", key, "--json"))
        )
        assert shown["hash"] == refund["hash"] and shown["seq"] == refund["seq"]
        altered = json.loads(proof.read_text())
        altered["header"] = altered["header"].replace("call.returned", "call.failed")
        proof.write_text(json.dumps(altered))
        assert "is not in the tree that was signed" in fails(
            tmp_path, "journal", "check-proof", str(proof), "--key", key
        )
        assert "is not in the journal" in fails(home, "journal", "prove", "999999")
        assert "is not empty" in fails(home, "audit", "export", str(folder))
