"""Memory from the command line and the SDK, on a real kernel that is killed in between."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel

import orlop
from orlop.abi.errors import Conflict
from orlop.abi.memory import Item, Target


@pytest.fixture(scope="module")
def live() -> Iterator[LiveKernel]:
    with live_kernel() as made:
        yield made


def refused(live: LiveKernel, *arguments: str) -> str:
    """What a command says that ends with an error."""
    done = subprocess.run(
        [*ORLOP, *arguments],
        env={**os.environ, "ORLOP_HOME": str(live.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    return done.stderr


def test_a_memorys_whole_life_is_followed_in_the_shell(live: LiveKernel) -> None:
    first = json.loads(live.orlop("memory", "add", "Ann lives in Bern", "--key", "h", "--json"))
    memory = first["written"][0]["memory"]
    live.orlop("memory", "add", "Ann lives in Basel", "--key", "h", "--source", "mail:17")
    found = json.loads(live.orlop("memory", "recall", "where does Ann live", "--json"))
    assert [one["text"] for one in found["memories"]] == ["Ann lives in Basel"]
    past = json.loads(live.orlop("memory", "history", memory, "--json"))
    assert [one["text"] for one in past] == ["Ann lives in Bern", "Ann lives in Basel"]
    assert past[1]["sources"] == ["mail:17"]
    assert found["facts"]["call"] in live.orlop("memory", "why", memory)
    moment = str(past[0]["known_from"])
    assert "Bern" in live.orlop("memory", "as-of", moment, "Ann")
    assert "Basel" in live.orlop("memory", "diff", "common", moment)
    live.orlop("memory", "rollback", "common", moment, "--reason", "a test")
    assert "Bern" in live.orlop("memory", "recall", "Ann")
    assert "hit rate" in live.orlop("memory", "stats")


def test_a_kinds_schema_is_set_shown_and_met_in_the_shell(live: LiveKernel, tmp_path: Path) -> None:
    shape = {"type": "object", "required": ["amount"]}
    (tmp_path / "payment.json").write_text(json.dumps(shape))
    live.orlop("memory", "kind", "payment", str(tmp_path / "payment.json"))
    assert json.loads(live.orlop("memory", "kind", "payment")) == shape
    assert "amount" in refused(live, "memory", "add", "Ann paid", "--kind", "payment")
    amount = ("--attribute", "amount=20", "--attribute", "in=Swiss francs")
    live.orlop("memory", "add", "Ann paid", "--kind", "payment", *amount)
    found = json.loads(live.orlop("memory", "recall", *amount, "--json"))
    assert found["memories"][0]["attributes"] == {"amount": 20, "in": "Swiss francs"}
    other = live.orlop("memory", "recall", "--attribute", "amount=21")
    assert "nothing is known" in other
    assert "NAME=VALUE" in refused(live, "memory", "recall", "--attribute", "amount")


def test_what_was_told_is_there_after_a_kill(live: LiveKernel) -> None:
    with orlop.connect_sync(home=live.home, process="keeper") as kernel:
        items = [Item(text=f"fact {number}", key=f"k{number}") for number in range(20)]
        done = kernel.remember(items, namespace="common/kept")
        os.kill(json.loads(live.orlop("info", "--json"))["os_pid"], signal.SIGKILL)
        found = kernel.recall(namespaces=["common/kept"], limit=50)
        assert sorted(one.text for one in found.memories) == sorted(one.text for one in items)
        assert found.known_seq >= done.facts.seq
        with pytest.raises(Conflict):
            kernel.remember("x", namespace="common/kept", key="k1", expected=0)
        written = done.written[1]
        kernel.remember("newer", namespace="common/kept", key="k1", expected=1)
        stale = kernel.stale([Target(written.memory, 1)])
        assert [one.text for one in stale] == ["newer"]
        kernel.forget(keys=["k1"], namespace="common/kept")
        assert not kernel.recall(key="k1", namespaces=["common/kept"]).memories


def test_memories_are_exported_and_read_again(live: LiveKernel, tmp_path: Path) -> None:
    with orlop.connect_sync(home=live.home) as kernel:
        kernel.remember("the moon is far", namespace="common/out", subjects=["thing:moon"])
    lines = live.orlop("memory", "export", "-n", "common/out")
    assert [json.loads(line)["text"] for line in lines.splitlines()] == ["the moon is far"]
    file = tmp_path / "out.jsonl"
    file.write_text(lines)
    report = json.loads(live.orlop("memory", "import", str(file), "-n", "common/in", "--json"))
    assert report == {"read": 1, "written": 1, "skipped": []}
    found = live.orlop("memory", "recall", "moon", "-n", "common/in")
    assert "thing:moon" in found


def test_what_has_expired_is_not_brought_back_by_an_import(
    live: LiveKernel, tmp_path: Path
) -> None:
    with orlop.connect_sync(home=live.home) as kernel:
        kernel.remember("the code is 4711", namespace="common/codes", ttl_s=0.2)
        file = tmp_path / "codes.jsonl"
        file.write_text(live.orlop("memory", "export", "-n", "common/codes"))
        assert "4711" in file.read_text()
        live.orlop("memory", "import", str(file), "-n", "common/codes-again")
        while kernel.recall(namespaces=["common/codes"]).memories:
            pass
        assert not kernel.recall(namespaces=["common/codes-again"]).memories


def test_duplicates_are_merged_and_what_contradicts_is_closed(live: LiveKernel) -> None:
    place = "common/tidy"
    about = {"about": "size"}
    with orlop.connect_sync(home=live.home) as kernel:
        for text in ("the sky is blue", "the sky is  blue", "grass is green"):
            kernel.remember(text, namespace=place)
        for text in ("shoe size 41", "shoe size 42"):
            kernel.remember(text, namespace=place, subjects=["mail:a"], attributes=about)
        report = json.loads(live.orlop("memory", "tidy", place, "--alike", "1", "--json"))
        assert (report["merged"], report["resolved"], report["conflicts"]) == (1, 1, 0)
        left = sorted(one.text for one in kernel.recall(namespaces=[place]).memories)
    assert left == ["grass is green", "shoe size 42", "the sky is  blue"]


def test_what_expires_is_left_alone_when_memories_are_tidied(live: LiveKernel) -> None:
    place = "common/expiring"
    about = {"about": "hours"}
    with orlop.connect_sync(home=live.home) as kernel:
        kernel.remember("the code is 4711", namespace=place)
        kernel.remember("the code is  4711", namespace=place, ttl_s=3_600)
        kernel.remember("open from 9", namespace=place, subjects=["shop:1"], attributes=about)
        today = kernel.remember(
            "closed today", namespace=place, subjects=["shop:1"], attributes=about, ttl_s=3_600
        )
        before = kernel.recall(namespaces=[place]).memories
        report = json.loads(live.orlop("memory", "tidy", place, "--alike", "1", "--json"))
        assert (report["read"], report["merged"], report["resolved"]) == (2, 0, 0)
        after = kernel.recall(namespaces=[place]).memories
        assert [one.version for one in after] == [one.version for one in before]
        assert after[0].memory == today.written[0].memory and after[0].expires_ns is not None


def test_an_erased_subject_has_a_certificate_and_the_journal_is_whole(live: LiveKernel) -> None:
    live.orlop("memory", "add", "SECRET-XYZZY", "--subject", "mail:gone@example.com")
    told = json.loads(live.orlop("memory", "erase", "mail:gone@example.com", "--yes"))
    assert told["versions"] == 1 and told["signature"]
    for file in (live.home / "index").iterdir():
        assert b"XYZZY" not in file.read_bytes()
    assert json.loads(live.orlop("journal", "verify", "--json"))["damage"] == []
