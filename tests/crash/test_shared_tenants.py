"""Tenants, their keys and their policies are all kernels' of a database: two real ones."""

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from crash.histories import until
from crash.two_kernels import Machine, machines
from postgres_server import Server, postgres

import orlop
from orlop.abi.errors import KernelError, RuleForbids, Unauthenticated
from orlop.sdk.sync import SyncKernel

LEASE_S = 2.0
PROMPT_S = 5.0
"""Hundredths of a second, and what a busy machine of two cores adds to that."""

FORBID = '@id("all") permit(principal, action, resource);\n@id("quiet")\n' + (
    'forbid(principal, action == Action::"infer", resource);\n'
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as made:
        yield made


def tenants(machine: Machine, *options: str) -> dict[str, dict[str, object]]:
    rows = json.loads(machine.orlop("tenant", "list", "--json", *options).stdout)
    return {str(row["name"]): row for row in rows}


def client(machine: Machine, key: str, name: str = "ann") -> SyncKernel:
    url = json.loads((machine.home / "info.json").read_text())["url"]
    return orlop.connect_sync(url, token=key, process=name, patience_s=20)


def says(machine: Machine, key: str) -> str:
    """What becomes of a model call with this key: `ok`, or the error's name."""
    try:
        with client(machine, key) as kernel:
            kernel.infer("hello", model="fake")
    except KernelError as error:
        return type(error).__name__
    return "ok"


def soon(machine: Machine, key: str, wanted: str) -> bool:
    return until(lambda: says(machine, key) == wanted, PROMPT_S)


def created(machine: Machine, *words: str) -> str:
    return machine.orlop("key", "create", *words).stdout.strip()


def test_a_tenant_and_all_that_speaks_for_it_are_known_at_every_kernel_until_it_is_removed(
    tmp_path: Path, server: Server
) -> None:
    names = ("mill", "inn")
    with machines(tmp_path, server.url, names, LEASE_S) as house:
        mill, inn = (house[name] for name in names)
        mill.orlop("tenant", "create", "acme", "--unconfined", "--note", "a customer")
        assert until(lambda: "acme" in tenants(inn), PROMPT_S), inn.log()
        assert tenants(inn)["acme"]["note"] == "a customer"
        twice = inn.orlop("tenant", "create", "acme", check=False)
        assert twice.returncode and "is here already" in twice.stderr

        key = created(mill, "--tenant", "acme", "clients")
        own = created(mill, "others")
        assert soon(inn, key, "ok") and soon(inn, own, "ok"), inn.log()
        with client(mill, key) as kernel:
            kernel.remember("xylograph of mill", key="word", embed=False)
        with client(inn, key) as kernel:
            assert kernel.recall(key="word").memories[0].text == "xylograph of mill"

        rules = tmp_path / "rules"
        rules.mkdir()
        (rules / "rules.cedar").write_text(FORBID)
        mill.orlop("policy", "set", str(rules), "--tenant", "acme")
        assert soon(inn, key, RuleForbids.__name__)
        assert says(inn, own) == "ok"
        inn.orlop("policy", "remove", "--tenant", "acme")
        assert soon(mill, key, "ok")

        other = created(inn, "--tenant", "acme", "more")
        assert soon(mill, other, "ok")
        (id,) = [
            row["id"]
            for row in json.loads(mill.orlop("key", "list", "--tenant", "acme", "--json").stdout)
            if row["name"] == "more"
        ]
        mill.orlop("key", "revoke", str(id), "--tenant", "acme")
        assert soon(inn, other, Unauthenticated.__name__)

        # A kernel that was away hears of it at its start, and one that takes over makes nothing
        # of what it finds in the lost one's journal.
        inn.stop()
        late = created(mill, "--tenant", "acme", "late")
        inn.start()
        assert says(inn, late) == "ok" and says(inn, other) == Unauthenticated.__name__
        inn.orlop("run", "-d", "--tenant", "acme", "--name", "long", "--", *sleeper(tmp_path))
        mill.orlop("tenant", "remove", "acme", "--reason", "gone")
        assert soon(inn, key, Unauthenticated.__name__)
        assert until(lambda: ended(inn, "long"), 20), inn.log()
        again = inn.orlop("tenant", "create", "acme", check=False)
        assert again.returncode and "its name stays its" in again.stderr
        mill.lose()
        assert until(lambda: "taken over" in inn.orlop("kernels").stdout, 20), inn.log()
        time.sleep(0.5)
        for secret in (key, other, late):
            assert says(inn, secret) == Unauthenticated.__name__
        assert says(inn, own) == "ok"
        assert "acme" not in tenants(inn)


def test_what_one_kernel_forgets_is_in_no_index_and_under_no_key_of_any(
    tmp_path: Path, server: Server
) -> None:
    names = ("lock", "weir")
    with machines(tmp_path, server.url, names, LEASE_S) as house:
        lock, weir = (house[name] for name in names)
        lock.orlop("tenant", "create", "amber")
        key = created(lock, "--tenant", "amber", "clients")
        assert soon(weir, key, "ok")
        for machine in (lock, weir):
            with client(machine, key) as kernel:
                kernel.remember(f"xylograph {machine.home.name}", embed=False)
                kernel.files.write(f"/shared/{machine.home.name}.txt", "a xylograph")
        for machine in (lock, weir):
            with client(machine, key) as kernel:
                assert len(kernel.recall().memories) == 2
                assert len(kernel.files.list("/shared")) == 2
        assert until(lambda: all(map(holding, (lock.home, weir.home))), 10)
        early = lock.orlop(
            "journal", "forget", "amber", "--yes", "--reason", "as asked", check=False
        )
        assert early.returncode and "is open" in early.stderr
        lock.orlop("tenant", "remove", "amber", "--reason", "gone")
        # Whoever hears of it first: the tenant is all kernels'.
        assert until(lambda: "amber" not in tenants(weir), PROMPT_S)
        weir.orlop("journal", "forget", "amber", "--yes", "--reason", "as asked")
        for machine in (lock, weir):
            assert until(partial(is_forgotten, machine), 20), machine.log()
            assert until(partial(is_swept, machine.home), 20), holding(machine.home)
        with psycopg.connect(server.url) as reader:
            found = reader.execute(
                "SELECT count(*) FROM orlop_kernels.tenant_key"
                " WHERE tenant = 'amber' AND wrapped IS NOT NULL"
            ).fetchone()
        assert found == (0,)
        whole = lock.orlop("journal", "forget", "default", "--yes", "--reason", "all", check=False)
        assert whole.returncode and "all kernels'" in whole.stderr
        for machine in (lock, weir):
            machine.stop()
            machine.start()
            assert tenants(machine, "--all")["amber"]["state"] == "forgotten"
            assert machine.orlop("journal", "verify").returncode == 0


def sleeper(folder: Path) -> tuple[str, str]:
    script = folder / "sleeper.py"
    script.write_text("import time\ntime.sleep(600)\n")
    return sys.executable, str(script)


def ended(machine: Machine, name: str) -> bool:
    shown = machine.orlop("ps", "--all", "--tenant", "acme", "--json", check=False).stdout
    rows = json.loads(shown) if shown.startswith("[") else []
    return all(row["state"] not in ("running", "starting") for row in rows if row["name"] == name)


def holding(home: Path) -> list[str]:
    files = (home / "index").glob("*.db*")
    return [file.name for file in files if b"xylograph" in file.read_bytes()]


def is_swept(home: Path) -> bool:
    return not holding(home)


def is_forgotten(machine: Machine) -> bool:
    return tenants(machine, "--all")["amber"]["state"] == "forgotten"
