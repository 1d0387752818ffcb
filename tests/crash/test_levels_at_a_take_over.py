"""How far agents are trusted outlives a machine: what was earned, and what was lost again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.histories import until
from crash.two_kernels import Machine, machines
from postgres_server import Server, postgres

LEASE_S = 2.0
RULE = """
[autonomy.notes]
tools = ["note"]
agents = ["desk-*"]
start = "suggest"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as made:
        yield made


def levels(machine: Machine) -> dict[str, str]:
    views = json.loads(machine.orlop("autonomy", "--json").stdout)
    return {view["row"]["key"]["agent"]: view["row"]["level"] for view in views}


def test_a_survivor_trusts_agents_as_far_as_the_lost_kernel_did_and_no_further(
    tmp_path: Path, server: Server
) -> None:
    names = ("quay", "pier")
    with machines(tmp_path, server.url, names, LEASE_S, more=RULE) as house:
        quay, pier = (house[name] for name in names)
        for agent, level in (("desk-1", "autonomous"), ("desk-2", "observe"), ("desk-3", "sample")):
            quay.orlop("autonomy", "set", agent, "note", level, "--reason", "by test")
        for agent, level in (("desk-2", "autonomous"), ("desk-3", "approve")):
            pier.orlop("autonomy", "set", agent, "note", level, "--reason", "by test")
        assert "desk-1" not in levels(pier)
        quay.lose()
        assert until(lambda: "taken over" in pier.orlop("kernels").stdout, 20), pier.log()
        assert until(lambda: "desk-1" in levels(pier), 5), pier.log()
        wanted = {"desk-1": "autonomous", "desk-2": "observe", "desk-3": "approve"}
        assert levels(pier) == wanted
        told = pier.orlop("autonomy", "why", "desk-2", "note").stdout
        assert "arrival" in told and "trusted it no further" in told
        pier.stop()
        pier.start()
        assert levels(pier) == wanted
