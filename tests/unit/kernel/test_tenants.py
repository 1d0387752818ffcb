"""Tenants in virtual time: what each has of its own, and what is left of one that is forgotten."""

import pytest
from small_kernel import Computer, ask, on, program, result

from orlop.abi.calls import Spawn
from orlop.abi.errors import BadCall, Conflict, Denied, NotFound, RuleForbids
from orlop.abi.ids import DEFAULT_TENANT, TenantId
from orlop.abi.policy import PolicyOrder
from orlop.abi.sandbox import Sandbox
from orlop.abi.tenants import TenantOrder
from orlop.devices.llamacpp_slots import Table, blocks_of
from orlop.kernel import forgetting, operator, syscall
from orlop.sched import view as scheduling
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import confinement, lifecycle, policies, tenants

ACME, ZETA = TenantId("acme"), TenantId("zeta")
ALL = '@id("all")\npermit(principal, action, resource);\n'
NONE = '@id("none")\nforbid(principal, action == Action::"infer", resource);\n'


async def made(kernel: Kernel, *names: TenantId) -> None:
    for name in names:
        await tenants.create(kernel, TenantOrder(name=name, sandbox=None))


async def client(kernel: Kernel, tenant: TenantId, name: str = "agent") -> Process:
    key = await operator.create_key(kernel, tenant, "key")
    process = await lifecycle.create(
        kernel, Spawn(command=(), name=name, program="task"), tenant, key_id=key.id
    )
    await lifecycle.start(kernel, process, "first")
    return process


def test_a_tenant_has_processes_keys_and_accounts_of_its_own_after_a_crash_too() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await made(kernel, ACME, ZETA)
        one, other = await client(kernel, ACME), await client(kernel, ZETA)
        await result(syscall.enter(kernel, one, ask("hello")))
        kernel.snapshot()
        await kernel.journal.flush()
        await here.crash(kernel)
        kernel = await here.boot()
        views = {view.name: view for view in tenants.listed(kernel)}
        assert set(views) == {DEFAULT_TENANT, ACME, ZETA}
        assert (views[ACME].calls, views[ACME].keys, views[ACME].processes) == (1, 1, 1)
        assert (views[ZETA].calls, views[ZETA].tokens) == (0, 0)
        assert kernel.find("agent", ACME).id == one.id
        assert kernel.find("agent", ZETA).id == other.id
        for reference in (one.id, str(one.row.pid), "agent"):
            with pytest.raises(NotFound, match="no process"):
                kernel.find(reference, DEFAULT_TENANT)
        assert [key.tenant for key in operator.keys(kernel, ACME)] == [ACME]
        await here.close(kernel)

    on(Computer, scenario)


def test_what_is_no_name_and_what_was_removed_can_not_be_made() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        for name in ("", "Acme", "a/b", "-a", "a" * 64, "ä"):
            with pytest.raises(BadCall, match="tenant"):
                await tenants.create(kernel, TenantOrder(name=name))
        await made(kernel, ACME)
        with pytest.raises(Conflict, match="is here already"):
            await made(kernel, ACME)
        await tenants.remove(kernel, ACME, "over")
        with pytest.raises(Conflict, match="its name stays"):
            await made(kernel, ACME)
        with pytest.raises(BadCall, match="stays"):
            await tenants.remove(kernel, DEFAULT_TENANT, "over")

    on(Computer, scenario)


def test_a_removed_tenant_has_no_keys_and_no_clients_and_programs_are_ended_first() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await made(kernel, ACME)
        agent = await client(kernel, ACME)
        spawn = Spawn(command=("agent",))
        running = await lifecycle.create(kernel, spawn, ACME)
        await lifecycle.start(kernel, running, "first")
        with pytest.raises(Conflict, match="have not ended"):
            await tenants.remove(kernel, ACME, "over")
        await lifecycle.signal(kernel, running, "kill", "for the test")
        await lifecycle.ended(kernel, running)
        view = await tenants.remove(kernel, ACME, "over")
        assert (view.state, view.keys, view.processes) == ("removed", 0, 0)
        assert kernel.is_over(agent.id) and not kernel.tables.keys.by_digest
        with pytest.raises(NotFound):
            tenants.find(kernel, ACME)

    on(Computer, scenario)


def test_a_call_needs_what_the_installation_and_its_tenant_permit() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await made(kernel, ACME, ZETA)
        one, other = await client(kernel, ACME), await client(kernel, ZETA)
        await policies.put(kernel, PolicyOrder(files={"own.cedar": ALL + NONE}), ACME)
        with pytest.raises(RuleForbids, match="none"):
            await result(syscall.enter(kernel, one, ask("hello")))
        await result(syscall.enter(kernel, other, ask("hello")))
        assert policies.view(kernel).origin == "built in"
        # No tenant allows itself what the installation forbids.
        await policies.put(kernel, PolicyOrder(files={"own.cedar": ALL}), ACME)
        await policies.put(kernel, PolicyOrder(files={"house.cedar": ALL + NONE}))
        for process in (one, other, await program(kernel)):
            with pytest.raises(RuleForbids, match="none"):
                await result(syscall.enter(kernel, process, ask("hello")))
        await kernel.journal.flush()
        await here.crash(kernel)
        kernel = await here.boot()
        assert list(policies.view(kernel, ACME).files) == ["own.cedar"]
        assert list(policies.view(kernel).files) == ["house.cedar"]
        assert policies.view(kernel, ZETA).origin == "built in"
        await here.close(kernel)

    on(Computer, scenario)


def test_a_broken_policy_of_a_tenant_leaves_its_old_one_and_nobody_else_notices() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await made(kernel, ACME)
        await policies.put(kernel, PolicyOrder(files={"own.cedar": ALL}), ACME)
        with pytest.raises(BadCall):
            await policies.put(kernel, PolicyOrder(files={"own.cedar": "permit(nobody"}), ACME)
        assert policies.view(kernel, ACME).files == {"own.cedar": ALL}
        await policies.put(kernel, PolicyOrder(files={"s.cedar": ALL + NONE}, shadow=True), ACME)
        await result(syscall.enter(kernel, await client(kernel, ACME), ask("hello")))
        await result(syscall.enter(kernel, await program(kernel), ask("hello")))
        shadow = policies.view(kernel, ACME).shadow
        assert shadow is not None and (shadow.decisions, shadow.differing) == (1, 1)
        assert policies.view(kernel).shadow is None

    on(Computer, scenario)


def test_the_scheduler_sees_tenants_and_never_one_program_in_two_of_them() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await made(kernel, ACME, ZETA)
        for tenant in (ACME, ZETA):
            await result(syscall.enter(kernel, await client(kernel, tenant), ask("hello")))
        view = scheduling.view(kernel.scheduler, kernel.clock.now_s())
        seen = {(one.tenant, one.program) for one in view.programs}
        assert seen == {("acme", "acme/task"), ("zeta", "zeta/task")}

    on(Computer, scenario)


def test_no_prefix_of_one_tenant_is_found_by_another() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        salts = {tenant: kernel.namer.salt(tenant) for tenant in (DEFAULT_TENANT, ACME, ZETA)}
        assert salts[DEFAULT_TENANT] == "" and len({*salts.values()}) == 3
        call = ask("the same long question " * 100)
        blocks = {salt: blocks_of(call, salt) for salt in salts.values()}
        assert len({frozenset(found) for found in blocks.values()}) == 3
        assert not set(blocks[salts[ACME]]) & {*blocks[salts[ZETA]], *blocks[""]}
        table = Table(2)
        assert table.match("other", blocks[""]).shared == 0

    on(Computer, scenario)


def test_programs_of_a_tenant_get_no_more_than_its_sandbox() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        box = Sandbox(write=("/srv/acme",))
        await tenants.create(kernel, TenantOrder(name=ACME, sandbox=box))
        for wanted in (Sandbox(write=("/srv",)), Sandbox(files="all"), Sandbox(net=("x.org",))):
            with pytest.raises(Denied, match="more than the sandbox holds"):
                order = Spawn(command=("agent",), sandbox=wanted)
                await confinement.sandbox_of(kernel, None, order, ACME)
        with pytest.raises(BadCall, match=r"'http://x\.org': no such port"):
            order = Spawn(command=("agent",), sandbox=Sandbox(net=("http://x.org",)))
            await confinement.sandbox_of(kernel, None, order, DEFAULT_TENANT)
        with pytest.raises(BadCall, match="no mode 'once'"):
            wrong = TenantOrder(name=ZETA, sandbox=Sandbox(net=("x.org=once",)))
            await tenants.create(kernel, wrong)
        # A client has no program here, so nothing is to be confined.
        found = await confinement.sandbox_of(kernel, None, Spawn(command=()), ACME)
        assert found == box

    on(Computer, scenario)


@pytest.mark.parametrize("is_lost", [False, True], ids=["at once", "after a crash in the middle"])
def test_of_a_forgotten_tenant_nothing_is_left_that_can_be_read(is_lost: bool) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await made(kernel, ACME, ZETA)
        one, other = await client(kernel, ACME, "secret-5527"), await client(kernel, ZETA)
        await result(syscall.enter(kernel, one, ask("secret-5527")))
        await result(syscall.enter(kernel, other, ask("hello")))
        kernel.snapshot()
        with pytest.raises(Conflict, match="is open"):
            await forgetting.forget(kernel, ACME, "they asked")
        await tenants.remove(kernel, ACME, "over")
        if is_lost:
            await said_only(kernel)
            await here.crash(kernel)
            kernel = await here.boot()
        else:
            await forgetting.forget(kernel, ACME, "they asked")
        await kernel.journal.flush()
        assert not kernel.journal.has_key(ACME)
        assert tenants.one(kernel, ACME).state == "forgotten"
        told = 0
        for stored in await kernel.journal.read(1):  # type: ignore[arg-type]
            assert b"secret-5527" not in (stored.body or b"")
            assert stored.header.tenant != ACME or stored.body is None
            told += stored.header.tenant == ZETA and stored.body is not None
        assert told > 2
        await here.crash(kernel)
        kernel = await here.boot()
        assert kernel.find("agent", ZETA).id == other.id
        assert {row.tenant for row in kernel.tables.rows.values()} == {ZETA}
        await here.close(kernel)

    on(Computer, scenario)


async def said_only(kernel: Kernel) -> None:
    """As far as a kernel comes that is lost right after the word."""
    forget = kernel.journal.forget

    async def lost(tenant: TenantId) -> None:
        raise ConnectionError

    kernel.journal.forget = lost  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await forgetting.forget(kernel, ACME, "they asked")
    kernel.journal.forget = forget  # type: ignore[method-assign]
