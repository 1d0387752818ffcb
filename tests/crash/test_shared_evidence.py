"""What a memory was used for is found at every kernel of a database, also of one that is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.histories import until
from crash.two_kernels import Machine, machines
from postgres_server import Server, postgres

import orlop

LEASE_S = 2.0
NAMES = ("harbour", "hill")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as made:
        yield made


def why(asked: Machine, name: str) -> str:
    return asked.orlop("memory", "why", name).stdout


def test_the_evidence_of_a_memory_and_of_an_answer_is_followed_across_kernels(
    tmp_path: Path, server: Server
) -> None:
    with machines(tmp_path, server.url, NAMES, LEASE_S) as house:
        harbour, hill = (house[name] for name in NAMES)
        with orlop.connect_sync(home=harbour.home, process="teacher") as kernel:
            taught = kernel.remember("The crane lifts 40 t", key="crane", namespace="common/yard")
            (written,) = taught.written
        with orlop.connect_sync(home=hill.home, process="clerk") as kernel:
            (found,) = kernel.recall(key="crane", namespaces=("common/yard",)).memories
            assert found.memory == written.memory
            answer = kernel.infer("May it lift 30 t?", model="fake").facts.call
        # Of the memory: what hill's clerk did with it, seen from harbour.
        seen = why(harbour, written.memory)
        (use,) = [line for line in seen.splitlines() if line.startswith("recalled")]
        assert "on the kernel hill" in use and f"infer {answer}" in use, seen
        # And from hill: its own use, and that harbour has the call that taught it.
        seen = why(hill, written.memory)
        assert "on the kernel harbour" in seen and f"infer {answer}" in seen, seen
        # Of the answer: what it rests on, wherever one asks.
        for machine in (harbour, hill):
            assert "The crane lifts 40 t" in why(machine, answer)
        told = json.loads(harbour.orlop("memory", "why", answer, "--json").stdout)
        assert told["kernels"][answer] == "hill"
        # A kernel that is lost has its evidence in the database still.
        hill.lose()
        assert until(lambda: state(harbour, "hill") == "taken over", 20), harbour.log()
        assert f"infer {answer}" in why(harbour, written.memory)
        assert "The crane lifts 40 t" in why(harbour, answer)


def state(asked: Machine, name: str) -> str:
    kernels = json.loads(asked.orlop("kernels", "--json").stdout)
    return str(next(one["state"] for one in kernels if one["schema"] == name))
