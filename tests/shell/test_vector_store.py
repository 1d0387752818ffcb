"""An external vector store as orlop.toml names it, on a real kernel."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from live_kernel import LiveKernel, live_kernel
from vector_servers import free_port

import orlop
from orlop.abi.memory import Item
from orlop.sdk.sync import SyncKernel

MODEL = "a-model-of-tests"
PLACE = "common/store"


def remember(kernel: SyncKernel) -> None:
    items = [
        Item(text=f"fact {number}", vector=(1.0, float(number), 0.5), vector_model=MODEL)
        for number in range(20)
    ]
    kernel.remember(items, namespace=PLACE)


def until(kernel: SyncKernel, holds: Callable[[orlop.abi.memory.Recalled], bool]) -> None:
    """Ask again until it holds; at most 30 times."""
    for _ in range(30):
        found = kernel.recall(
            vector=(1.0, 0.0, 0.5), vector_model=MODEL, mode="dense", namespaces=[PLACE], limit=3
        )
        assert [one.text for one in found.memories] == ["fact 0", "fact 1", "fact 2"]
        if holds(found):
            return
        time.sleep(1.0)
    raise AssertionError(f"never so; the last reply: {found.tier}, {found.note!r}")


def stats(live: LiveKernel) -> dict[str, str]:
    found: dict[str, str] = json.loads(live.orlop("memory", "stats", "--json"))
    return found


def test_a_store_in_a_folder_answers_once_it_is_fed(tmp_path: Path) -> None:
    config = f'\n[memory]\nstore = "qdrant:{tmp_path}/vectors"\n'
    with live_kernel(config) as live, orlop.connect_sync(home=live.home) as kernel:
        remember(kernel)
        until(kernel, lambda found: found.tier == "long-term, disk")
        assert stats(live)["store"] == f"qdrant {tmp_path}/vectors"
        assert "note" not in stats(live) or not stats(live)["note"]


def test_one_that_is_away_is_told_in_replies_and_by_stats() -> None:
    config = f'\n[memory]\nstore = "weaviate:http://127.0.0.1:{free_port()}"\n'
    with live_kernel(config) as live, orlop.connect_sync(home=live.home) as kernel:
        remember(kernel)
        until(kernel, lambda found: "is away" in found.note and "embedded" in found.note)
        assert "refused" in stats(live)["note"]
        said = json.loads(live.orlop("memory", "recall", "fact", "-n", PLACE, "--json"))
        assert said["memories"]
