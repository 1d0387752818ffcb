"""Two tenants on one kernel: every route and every call of one with the names of the other."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bench.isolation import Api
from bench.tenant_things import Tenant, state, tenant, things
from bench.tenants_apart import CANARY, NAME, Caller, Things, apart, shape
from live_kernel import live_kernel

CONFIG = """
[tools.echo]
command = ["cat"]
effect = "pure"
"""


@dataclass(frozen=True, slots=True)
class Town:
    api: Api
    document: dict[str, object]
    one: Tenant
    other: Tenant
    home: Tenant
    theirs: Things
    """What is the first's."""


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with live_kernel(CONFIG) as kernel:
        api = Api(kernel.home, kernel.url)
        one, other = tenant(api, "tenant-one", CANARY), tenant(api, "tenant-two", "mallory")
        document = json.loads(api.ask("get", "/openapi.json", kernel.key)[1])
        yield Town(api, document, one, other, tenant(api, "default", "mallory"), things(api, one))
        log = (kernel.home / "log" / "kernel.log").read_text()
        assert "Traceback" not in log, log


@pytest.mark.parametrize("who", ["other", "home"])
def test_no_route_and_no_call_tells_or_changes_what_is_another_tenants(
    town: Town, who: str
) -> None:
    before = state(town.api, town.one)
    attackers = (town.other if who == "other" else town.home).callers()
    found = apart(town.api, town.document, attackers, town.theirs)
    after = state(town.api, town.one)
    assert found.tried > 1_200
    assert not found.told, "\n".join(found.told)
    assert not found.unlike, "\n".join(found.unlike)
    assert {path for path in before if before[path] != after[path]} == set()


def test_the_same_requests_tell_a_tenants_own_operator_all_of_it(town: Town) -> None:
    """So that the test above is one that can fail."""
    own = [Caller("its own operator", town.one.operator)]
    found = apart(town.api, town.document, own, town.theirs, alike=False)
    routes = {line.split(": ")[1].split("?")[0] for line in found.told}
    assert len(routes) > 15, routes


def test_a_new_tenant_begins_with_nothing_whatever_others_have(town: Town) -> None:
    new = tenant(town.api, "tenant-new", "newcomer")
    seen = state(town.api, new)
    for path in ("schedules", "questions?all=1", "grants?all=1", "sagas?all=1", "effects"):
        assert seen[path] == "[]", path
    assert seen["mounts"] == seen["memory/kinds"] == seen["tokens/revoked"] == "[]"
    assert seen["memory/export?past=1"] == ""
    assert [row["name"] for row in json.loads(seen["processes?all=1"])] == ["p-newcomer"]
    assert {row["tenant"] for row in json.loads(seen["keys"])} == {"tenant-new"}
    assert [row["name"] for row in json.loads(seen["people"])["people"]] == ["newcomer-person"]
    assert json.loads(seen["policy"])["origin"] == "built in"


@pytest.mark.parametrize(
    "call",
    [
        {"type": "list", "path": "/", "deep": True},
        {"type": "read", "files": [{"path": f"/{NAME}/notes.txt"}]},
        {"type": "recall", "namespaces": [NAME]},
        {"type": "open_context", "path": f"/{NAME}/context"},
        {"type": "search", "query": "canary", "path": "/"},
    ],
    ids=lambda call: call["type"],
)
def test_a_name_that_another_tenant_uses_is_free(town: Town, call: dict[str, object]) -> None:
    """Asked before the newcomer has anything: so nothing is there, as with any other name."""
    name = f"tenant-{call['type']}".replace("_", "-")
    key = town.api.orlop("key", "create", *named(town, name)).strip()
    status, said = town.api.ask("post", "/orlop/v1/calls", key, call, "first")
    text = json.dumps(call).replace(NAME, "name-nobody")
    other = town.api.ask("post", "/orlop/v1/calls", key, json.loads(text), "first")
    said = said.replace(NAME, "name-nobody")
    assert shape(status, said) == shape(*other)
    assert CANARY not in said


def named(town: Town, name: str) -> tuple[str, str]:
    """The option of commands for a tenant of that name, which is made."""
    town.api.orlop("tenant", "create", name)
    return "--tenant", name
