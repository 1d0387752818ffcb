"""Rights at the door: who may call what, what a child gets, what is given and taken."""

import pytest
from small_kernel import Computer, ask, on, program

from orlop.abi.calls import Ask, Call, CallTool, Embed, Grant, Infer, Revoke, Signal, Spawn
from orlop.abi.capabilities import RightRefused
from orlop.abi.errors import BadCall, Conflict, Denied
from orlop.abi.ids import ProcessId
from orlop.abi.limits import REFUSALS_JOURNALED_MAX, RIGHTS_MAX
from orlop.abi.replies import Spawned
from orlop.abi.rights import EVERYTHING, Rights
from orlop.access.rights import Narrowing, compiled
from orlop.kernel import syscall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import rights

CALLS: list[tuple[str, Call]] = [
    ("model:fake", ask("hello")),
    ("model:fake", Embed(model="fake", inputs=("a",))),
    ("tool:shop.buy", CallTool(tool="shop.buy")),
    ("spawn:agent", Spawn(command=("agent", "a"))),
    ("signal", Signal(process=ProcessId("prc_x"))),
    ("ask", Ask(text="may I?")),
    ("grant", Grant(process=ProcessId("prc_x"), right="ask")),
    ("grant", Revoke(process=ProcessId("prc_x"), right="ask")),
]


async def holding(kernel: Kernel, *allow: str) -> Process:
    return await program(kernel, allow=allow)


async def made(kernel: Kernel, process: Process, call: Call) -> object:
    """The call's result.  Raises what it ended in."""
    running = syscall.enter(kernel, process, call)
    last: object = None
    async for reply in running.replies:
        last = reply
    return last


async def child(kernel: Kernel, parent: Process, *allow: str) -> Process:
    done = await made(kernel, parent, Spawn(command=("agent",), allow=allow))
    assert isinstance(done, Spawned)
    return kernel.get(done.process)


async def refusals(kernel: Kernel, process: Process) -> list[RightRefused]:
    await kernel.journal.flush()
    stored = await kernel.journal.of_process(process.id)
    events = [codec.decode(item) for item in stored]
    return [event for event in events if isinstance(event, RightRefused)]


@pytest.mark.parametrize(("right", "call"), CALLS, ids=lambda given: str(given)[:20])
def test_a_call_takes_its_right_and_no_other(right: str, call: Call) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        others = [text for text, _ in CALLS if text != right]
        without = await holding(kernel, *others)
        with pytest.raises(Denied, match="no right to") as refused:
            syscall.enter(kernel, without, call)
        assert right.partition(":")[0] in refused.value.message
        assert not without.running
        rights.check(kernel, await holding(kernel, right), call, None)

    on(Computer, scenario)


def test_a_program_without_a_word_about_rights_may_do_everything() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        assert process.row.rights == EVERYTHING
        await made(kernel, process, ask("hello"))

    on(Computer, scenario)


def test_a_refusal_is_in_the_journal_and_a_flood_of_them_is_counted() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await holding(kernel)
        for _ in range(REFUSALS_JOURNALED_MAX + 30):
            with pytest.raises(Denied):
                syscall.enter(kernel, process, CallTool(tool="shop.buy"))
        found = await refusals(kernel, process)
        assert len(found) == REFUSALS_JOURNALED_MAX
        assert found[0].right == "tool:shop.buy"
        await kernel.clock.sleep(61)
        with pytest.raises(Denied):
            syscall.enter(kernel, process, CallTool(tool="shop.buy"))
        assert (await refusals(kernel, process))[-1].unsaid == 30
        assert process.refused == REFUSALS_JOURNALED_MAX + 31

    on(Computer, scenario)


def test_a_child_gets_what_its_parent_names_and_holds() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        parent = await holding(kernel, "spawn", "tool:shop.*", "model")
        heir = await made(kernel, parent, Spawn(command=("agent",)))
        assert isinstance(heir, Spawned)
        assert kernel.get(heir.process).row.rights == parent.row.rights
        narrow = await child(kernel, parent, "tool:shop.list")
        assert narrow.row.rights == ("tool:shop.list",)
        with pytest.raises(Denied, match="tool:bank"):
            await child(kernel, parent, "tool:bank.pay")
        with pytest.raises(Denied, match=r"'\*'"):
            await child(kernel, parent, "*")

    on(Computer, scenario)


def test_a_narrowed_token_narrows_what_is_called_and_what_is_passed_on() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        parent = await holding(kernel, "spawn", "tool", "model")
        token = Narrowing(compiled(("spawn", "tool:shop.*")), "ab" * 32)
        with pytest.raises(Denied, match="this token has no right to model"):
            syscall.enter(kernel, parent, ask("hello"), narrowing=token)
        running = syscall.enter(kernel, parent, Spawn(command=("agent",)), narrowing=token)
        async for done in running.replies:
            assert isinstance(done, Spawned)
            assert kernel.get(done.process).row.rights == ("spawn", "tool:shop.*")
        assert (await refusals(kernel, parent))[0].token == token.token

    on(Computer, scenario)


def test_a_right_is_given_to_a_child_and_taken_from_all_below() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        root = await holding(kernel, "spawn", "grant", "tool")
        mother = await child(kernel, root, "spawn", "grant", "tool:shop.list")
        daughter = await child(kernel, mother, "tool:shop.list")
        right = "tool:shop.*"
        with pytest.raises(Denied, match=r"does not hold 'tool:shop\.\*'"):
            await made(kernel, root, Grant(process=daughter.id, right=right))
        await made(kernel, root, Grant(process=mother.id, right=right))
        await made(kernel, mother, Grant(process=daughter.id, right=right))
        assert daughter.row.rights == ("tool:shop.*",)
        await made(kernel, root, Revoke(process=mother.id, right=right))
        assert mother.row.rights == ("spawn", "grant")
        assert not daughter.row.rights
        assert root.row.rights == ("spawn", "grant", "tool")

    on(Computer, scenario)


def test_what_reaches_beyond_what_is_taken_must_be_taken_whole() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        root = await program(kernel)
        mother = await child(kernel, root, "tool")
        with pytest.raises(Conflict, match="holds 'tool', which reaches beyond"):
            await made(kernel, root, Revoke(process=mother.id, right="tool:shop.*"))
        with pytest.raises(Conflict, match="does not hold 'ask'"):
            await made(kernel, root, Revoke(process=mother.id, right="ask"))
        assert mother.row.rights == ("tool",)

    on(Computer, scenario)


def test_nobody_gives_to_himself_or_to_strangers() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        one, other = await program(kernel), await program(kernel)
        with pytest.raises(BadCall, match="himself"):
            await made(kernel, one, Grant(process=one.id, right="ask"))
        with pytest.raises(Denied, match="no ancestor"):
            await made(kernel, one, Revoke(process=other.id, right="*"))

    on(Computer, scenario)


def test_rights_survive_a_crash_and_a_snapshot() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        root = await holding(kernel, "spawn", "grant", "tool", "ask")
        mother = await child(kernel, root, "tool:shop.*")
        await made(kernel, root, Grant(process=mother.id, right="ask"))
        kernel.snapshot()
        await made(kernel, root, Revoke(process=mother.id, right="tool:shop.*"))
        await kernel.journal.flush()
        await here.crash(kernel)
        following = await here.boot()
        assert following.tables.rows[mother.id].rights == ("ask",)
        assert following.tables.rows[root.id].rights == root.row.rights
        await here.close(following)

    on(Computer, scenario)


def test_a_model_may_be_called_by_a_name_or_by_what_it_stands_for() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        kernel.registry._aliases["gpt"] = kernel.registry.cards()[0].name
        await made(kernel, await holding(kernel, "model:fake"), Infer(model="gpt", prompt="a"))
        await made(kernel, await holding(kernel, "model:gpt"), Infer(model="gpt", prompt="a"))
        with pytest.raises(Denied):
            syscall.enter(kernel, await holding(kernel, "model:gpt"), ask("a"))

    on(Computer, scenario)


def test_a_process_sees_the_models_that_it_may_ask() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        cards = kernel.registry.cards()
        assert rights.usable(await program(kernel), None, cards) == cards
        assert rights.usable(await holding(kernel, "tool"), None, cards) == []

    on(Computer, scenario)


def test_the_limit_of_rights_holds_for_grants() -> None:
    held: Rights = tuple(f"tool:t{number}" for number in range(RIGHTS_MAX))

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await holding(kernel, *held)
        with pytest.raises(BadCall, match="RIGHTS_MAX"):
            rights.give(kernel, process, "ask", EVERYTHING, "an operator")

    on(Computer, scenario)
