"""`orlop tenant`, and other commands within one, against a real kernel."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from exact_client import CHAT, ask, chat
from live_kernel import LiveKernel, live_kernel

from orlop.sandbox import tiers
from orlop.sdk.operator import operator
from orlop.sdk.sync import connect_sync

HAS_SANDBOX = any(tiers.trial(tier).works for tier in tiers.TIERS)


@pytest.fixture(scope="module")
def kernel() -> Iterator[LiveKernel]:
    with live_kernel() as running:
        running.orlop("tenant", "create", "acme", "--note", "a customer")
        yield running


def refused(kernel: LiveKernel, *words: str) -> str:
    """What an `orlop` command says that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "orlop.shell.main", *words, "--home", str(kernel.home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode, done.stdout
    return done.stderr


def test_a_tenants_clients_are_its_own_in_every_command(kernel: LiveKernel) -> None:
    key = kernel.orlop("key", "create", "--tenant", "acme", "clients").strip()
    assert ask(kernel, CHAT, chat(), token=key, headers={"orlop-process": "ann"}).status == 200
    assert "ann" in kernel.orlop("ps", "--tenant", "acme")
    assert "ann" not in kernel.orlop("ps", "--all")
    assert "no process 'ann'" in refused(kernel, "show", "ann")
    assert "no process 'ann'" in refused(kernel, "kill", "ann")
    shown = json.loads(kernel.orlop("trace", "ann", "--tenant", "acme", "--json"))
    assert [call["kind"] for call in shown["calls"]] == ["infer"]
    assert shown["process"]["tenant"] == "acme"
    events = kernel.orlop("journal", "export", "--tenant", "acme").splitlines()
    assert {json.loads(line)["header"].get("tenant", "default") for line in events} == {"acme"}
    (view,) = [v for v in json.loads(kernel.orlop("tenant", "list", "--json")) if v["calls"]]
    assert (view["name"], view["note"], view["calls"]) == ("acme", "a customer", 1)


def test_a_tenants_operator_orders_all_within_it_and_nothing_outside(kernel: LiveKernel) -> None:
    token = kernel.orlop("key", "create", "--tenant", "acme", "--operator", "boss").strip()
    boss = operator(kernel.url, token=token)
    made = boss.create_key("more", operator=True)
    listed = boss.keys()
    assert {key.tenant for key in listed} == {"acme"}
    boss.revoke_key(made.id)
    for path in ("/orlop/v1/devices", "/orlop/v1/tenants", "/orlop/v1/info"):
        answer = ask(kernel, path, token=token)
        assert (answer.status, "is the installation's" in answer.body.decode()) == (403, True)
    for named in ("default", "nobody"):
        headers = {"orlop-tenant": named}
        answer = ask(kernel, "/orlop/v1/processes", token=token, headers=headers)
        assert answer.status == 404
    order = json.dumps({"account": "organisation", "limit": {}}).encode()
    assert ask(kernel, "/orlop/v1/budgets", order, token=token).status == 403


def test_the_organisation_of_a_tenant_is_limited_by_the_installation(kernel: LiveKernel) -> None:
    kernel.orlop("tenant", "create", "small")
    key = kernel.orlop("key", "create", "--tenant", "small", "clients").strip()
    kernel.orlop("budget", "set", "organisation", "--tenant", "small", "--calls", "1")
    assert ask(kernel, CHAT, chat(), token=key).status == 200
    assert ask(kernel, CHAT, chat(), token=key).status == 429
    assert ask(kernel, CHAT, chat()).status == 200


def test_an_order_about_the_installation_takes_no_tenant(kernel: LiveKernel) -> None:
    assert "about the whole installation" in refused(kernel, "devices", "--tenant", "acme")
    assert "no tenant 'nobody'" in refused(kernel, "ps", "--tenant", "nobody")
    assert "No such option" in refused(kernel, "down", "--tenant", "acme")


def test_metrics_show_a_tenant_its_own(kernel: LiveKernel) -> None:
    key = kernel.orlop("key", "create", "--tenant", "acme", "m", "--allow", "metrics").strip()
    own = ask(kernel, "/metrics", token=key).body.decode()
    lines = [line for line in own.splitlines() if not line.startswith("#")]
    assert lines and all('tenant="acme"' in line for line in lines)
    boss = kernel.orlop("key", "create", "--tenant", "acme", "boss", "--operator").strip()
    assert ask(kernel, "/metrics", token=boss).body.decode() == own
    for tenant in ("acme", "default"):  # Of `default` it would be the numbers of all.
        person = kernel.orlop("people", "add", "watson", "--tenant", tenant, "--json")
        token = json.loads(person)["token"]
        assert ask(kernel, "/orlop/v1/questions", token=token).status == 200
        answer = ask(kernel, "/metrics", token=token)
        assert answer.status == 403 and "not for metrics" in answer.body.decode()
    whole = ask(kernel, "/metrics", token=kernel.key).body.decode()
    assert 'orlop_tenant_used_total{tenant="acme",unit="calls"}' in whole
    assert "orlop_engine_ready" in whole


@pytest.mark.skipif(not HAS_SANDBOX, reason="no sandbox works here")
def test_programs_of_a_tenant_run_in_its_sandbox_whatever_they_ask_for(kernel: LiveKernel) -> None:
    secret = str(kernel.home / "keys" / "operator.token")
    look = ("run", "--tenant", "acme", "--", "sh", "-c", f"cat {secret}; echo done")
    done = subprocess.run(
        [sys.executable, "-m", "orlop.shell.main", *look],
        env={"ORLOP_HOME": str(kernel.home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "done" in done.stdout and "orlo_" not in done.stdout, done.stderr


def test_files_and_memories_of_one_name_are_each_tenants_own(kernel: LiveKernel) -> None:
    for tenant in ("acme", "default"):
        with connect_sync(home=kernel.home, tenant=tenant) as mine:
            mine.files.write("/notes.txt", f"of {tenant}")
            mine.remember(f"of {tenant}", namespace="common/notes")
    for tenant in ("acme", "default"):
        with connect_sync(home=kernel.home, tenant=tenant) as mine:
            assert mine.files.read("/notes.txt").decode() == f"of {tenant}"
            found = mine.recall(namespaces=("common/notes",)).memories
            assert [memory.text for memory in found] == [f"of {tenant}"]


def test_a_tenant_is_removed_and_forgotten_and_the_journal_verifies(kernel: LiveKernel) -> None:
    kernel.orlop("tenant", "create", "gone")
    key = kernel.orlop("key", "create", "--tenant", "gone", "clients").strip()
    ask(kernel, CHAT, chat(), token=key, headers={"orlop-process": "secret-7734"})
    assert "is open" in refused(kernel, "journal", "forget", "gone", "--reason", "x", "--yes")
    kernel.orlop("tenant", "remove", "gone", "--reason", "contract ended")
    assert ask(kernel, CHAT, chat(), token=key).status == 401
    kernel.orlop("journal", "forget", "gone", "--reason", "as they asked", "--yes")
    assert "was removed" in refused(kernel, "tenant", "create", "gone")
    listed = {
        v["name"]: v["state"] for v in json.loads(kernel.orlop("tenant", "list", "-a", "--json"))
    }
    assert listed["gone"] == "forgotten"
    assert "no tenant 'gone'" in refused(kernel, "ps", "--tenant", "gone")
    assert "secret-7734" not in kernel.orlop("journal", "export")
    kernel.orlop("journal", "verify")
