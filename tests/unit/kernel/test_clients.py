"""Which process a client with a key speaks for."""

from small_kernel import Computer, on, program

from orlop.abi.calls import Spawn
from orlop.abi.ids import DEFAULT_TENANT, KeyId
from orlop.kernel import operator
from orlop.state import tables
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle

KEY = KeyId("key_1")


async def client(kernel: Kernel, name: str = "", task: str = "") -> Process:
    spawn = Spawn(command=(), name=name, program=task)
    process = await lifecycle.create(kernel, spawn, DEFAULT_TENANT, key_id=KEY)
    await lifecycle.start(kernel, process, "first")
    return process


def test_a_named_client_is_found_by_its_name_with_and_without_its_program() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        agent = await client(kernel, "agent", "task")
        assert kernel.clients.find(DEFAULT_TENANT, KEY, "task", "agent") is agent
        assert kernel.clients.find(DEFAULT_TENANT, KEY, "", "agent") is agent
        assert kernel.clients.find(DEFAULT_TENANT, KEY, "other task", "agent") is None
        assert kernel.clients.find(DEFAULT_TENANT, None, "task", "agent") is None

    on(Computer, scenario)


def test_a_named_client_that_has_ended_is_found_and_a_nameless_one_is_not() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        agent, nameless = await client(kernel, "agent"), await client(kernel)
        for process in (agent, nameless):
            lifecycle.end(kernel, process, 0, "")
        assert kernel.clients.find(DEFAULT_TENANT, KEY, "", "agent") is agent
        assert kernel.clients.find(DEFAULT_TENANT, KEY, "", "") is None
        newer = await client(kernel)
        assert kernel.clients.find(DEFAULT_TENANT, KEY, "", "") is newer

    on(Computer, scenario)


def test_clients_and_keys_are_found_after_a_crash() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        agent = await client(kernel, "agent")
        key = await operator.create_key(kernel, DEFAULT_TENANT, "mine")
        revoked = await operator.create_key(kernel, DEFAULT_TENANT, "lost")
        await operator.revoke_key(kernel, DEFAULT_TENANT, revoked.id)
        kernel.snapshot()
        await kernel.journal.flush()
        await here.crash(kernel)
        following = await here.boot()
        found = following.clients.find(DEFAULT_TENANT, KEY, "", "agent")
        assert found is not None and found.id == agent.id
        assert following.tables.keys.by_digest == {operator.digest_of(key.secret): key.id}
        assert following.find(str(agent.row.pid), DEFAULT_TENANT).id == agent.id
        await here.close(following)

    on(Computer, scenario)


def test_processes_that_leave_the_table_leave_nothing_behind() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        for _ in range(tables.EXITED_KEPT_MAX + 10):
            process = await lifecycle.create(kernel, Spawn(command=()), DEFAULT_TENANT, key_id=KEY)
            lifecycle.end(kernel, process, 0, "")
        alive = await program(kernel)
        assert len(kernel.processes) == len(kernel.tables.rows) == tables.EXITED_KEPT_MAX + 1
        assert set(kernel.tables.pids.values()) == set(kernel.tables.rows)
        assert not kernel.tables.gone
        assert kernel.find(str(alive.row.pid), DEFAULT_TENANT) is alive

    on(Computer, scenario)
