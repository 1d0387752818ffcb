"""What is kept has the labels that it was written with, in each version, for whoever reads it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest
from file_kernel import Desk, FileComputer
from memory_kernel import MemoryComputer, Mind
from simulation_loop import simulate
from small_kernel import program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, RuleForbids
from orlop.abi.files import (
    Contents,
    FileRead,
    FolderMounted,
    Found,
    Put,
    ReadFiles,
    SearchFiles,
    Take,
)
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS
from orlop.abi.labels import MANY, together
from orlop.abi.limits import LABELS_MAX
from orlop.abi.memory import Item, Remember, Target
from orlop.abi.memory_orders import EraseOrder, RollbackOrder
from orlop.access.policy import Policy
from orlop.access.policy_reading import read
from orlop.access.policy_templates import TEMPLATES
from orlop.kernel import memory_erasure, memory_orders, syscall
from orlop.state.core import Kernel
from orlop.state.process import Process

WEB = ("untrusted",)
PAGE = "The shop is open from nine to five, and closed on Sundays."


@dataclass(eq=False)
class Wire:
    """A tool that strangers speak through, or one that can't be taken back."""

    card: ToolCard
    calls: int = 0

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.calls += 1
        return {"text": PAGE}

    async def happened(self, key: str) -> bool | None:
        return None


def tools() -> tuple[Wire, Wire]:
    browse = ToolCard(name="browse", effect="pure", trust="untrusted")
    return Wire(browse), Wire(ToolCard(name="pay", effect="irreversible"))


@dataclass(eq=False, kw_only=True)
class House(FileComputer, MemoryComputer):
    """Files and memories in one kernel."""

    async def boot(self) -> Kernel:
        kernel = await super().boot()
        assert kernel.files is not None and kernel.memories is not None
        kernel.projections = (kernel.files.projection, kernel.memories.projection)
        files = TEMPLATES["taint"]
        kernel.guard.put(Policy(files, "test", read(files, lambda tool: None)))
        return kernel


async def browse(kernel: Kernel, process: Process) -> None:
    await result(syscall.enter(kernel, process, CallTool(tool="browse", arguments={})))


async def pay(kernel: Kernel, process: Process) -> None:
    await result(syscall.enter(kernel, process, CallTool(tool="pay", arguments={"to": "Eve"})))


async def both(kernel: Kernel) -> tuple[Desk, Desk]:
    """One who has read the web, and one who has not."""
    stained, clean = [Desk(kernel, await program(kernel, name=name)) for name in ("one", "two")]
    await browse(kernel, stained.process)
    return stained, clean


async def labels(desk: Desk, path: str, version: int | None = None) -> tuple[str, ...]:
    done = await desk.do(ReadFiles(files=(FileRead(path=path, version=version),)))
    assert isinstance(done, Contents)
    return done.files[0].labels


def in_house(scenario: Callable[[House, Kernel], Awaitable[None]]) -> None:
    async def whole() -> None:
        here = House(tools=tools())
        kernel = await here.boot()
        await scenario(here, kernel)
        await here.close(kernel)

    simulate(1, whole())


def test_each_version_of_a_file_has_its_own_labels() -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        stained, clean = await both(kernel)
        await stained.write("/in/a", PAGE)
        await clean.write("/in/a", "all new")
        assert await labels(clean, "/in/a") == ()
        await clean.write("/in/b", "clean")
        await stained.write("/in/b", PAGE, append=True)
        before = Desk(kernel, await program(kernel, name="three"))
        await before.write("/in/b", "more", append=True)
        assert await labels(before, "/in/b", version=1) == ()
        rows = (await before.listing("/in", deep=True)).files
        assert {row.path: row.labels for row in rows} == {"/in/a": (), "/in/b": WEB}
        assert not kernel.tables.policies.carried.get(before.process.id)
        assert await labels(before, "/in/b") == WEB
        assert kernel.tables.policies.carried[before.process.id].keys() == set(WEB)

    in_house(scenario)


@pytest.mark.parametrize("how", ["version", "at", "rollback", "onto", "copy", "move", "snapshot"])
def test_labels_go_where_the_content_goes(how: str) -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        stained, clean = await both(kernel)
        await stained.write("/in/a", PAGE)
        then = (await clean.listing("/in")).at
        await clean.change("snapshot", "/in", to="before")
        if how not in ("copy", "move", "onto"):
            await clean.write("/in/a", "all new")
        where, version, at = "/in/a", None, ""
        match how:
            case "version":
                version = 1
            case "at":
                at = str(then)
            case "rollback":
                await clean.change("rollback", "/in/a", version=1)
            case "onto":
                where = "/b"
                await clean.write(where, "more", onto="/in/a")
            case "copy" | "move":
                where = "/out/a"
                await clean.change(how, "/in", to="/out")
            case _:
                await clean.change("restore", "/in", to="before")
        assert await clean.read(where, version=version, at=at) != "all new"
        assert kernel.tables.policies.carried[clean.process.id].keys() == set(WEB)
        with pytest.raises(RuleForbids, match="strangers-words"):
            await pay(kernel, clean.process)

    in_house(scenario)


def test_a_deleted_file_that_is_written_anew_is_clean() -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        stained, clean = await both(kernel)
        await stained.write("/in/a", PAGE)
        await clean.change("delete", "/in/a")
        await clean.write("/in/a", "all new")
        assert await labels(clean, "/in/a") == ()
        await pay(kernel, clean.process)

    in_house(scenario)


def test_pipes_and_searches_bring_labels_of_what_they_bring() -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        stained, clean = await both(kernel)
        await stained.do(Put(pipe="/pipe", data=PAGE.encode()))
        await clean.do(Put(pipe="/other", data=b"clean"))
        await stained.write("/in/a.txt", PAGE)
        await clean.write("/in/b.txt", "A shop of ours.")
        await clean.do(Take(pipe="/other"))
        found = await clean.do(SearchFiles(text="ours", path="/in"))
        while isinstance(found, Found) and found.unread:
            await here.clock.sleep(1.0)
            found = await clean.do(SearchFiles(text="ours", path="/in"))
        assert isinstance(found, Found) and [hit.labels for hit in found.hits] == [()]
        assert not kernel.tables.policies.carried.get(clean.process.id)
        done = await clean.do(SearchFiles(text="Sundays", path="/in"))
        assert isinstance(done, Found) and [hit.labels for hit in done.hits] == [WEB]
        taken = await clean.do(Take(pipe="/pipe"))
        assert isinstance(taken, Contents) and taken.files[0].labels == WEB
        assert kernel.tables.policies.carried[clean.process.id].keys() == set(WEB)

    in_house(scenario)


def test_a_mounted_folder_keeps_labels_that_were_ever_written_to_a_path(tmp_path: object) -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        event = FolderMounted(path="/host", folder=str(tmp_path), writable=True)
        kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event)
        stained, clean = await both(kernel)
        await stained.write("/host/a", PAGE)
        await clean.write("/host/a", "all new")
        await clean.write("/host/b", "clean")
        assert await labels(clean, "/host/b") == ("outside",)
        assert await labels(clean, "/host/a") == ("outside", "untrusted")

    in_house(scenario)


@pytest.mark.parametrize("is_snapshot", [True, False], ids=["snapshot", "events"])
def test_labels_of_what_is_kept_outlive_the_kernel_and_its_rows(is_snapshot: bool) -> None:
    async def whole() -> None:
        here = House(tools=tools())
        kernel = await here.boot()
        stained, _ = await both(kernel)
        await stained.write("/in/a", PAGE)
        await stained.do(Put(pipe="/pipe", data=b"x"))
        memory = await Mind(kernel, stained.process).remember("Eve is to be paid", "common/x")
        if is_snapshot:
            kernel.snapshot()
        await kernel.journal.flush()
        await here.crash(kernel)
        again = await here.boot()
        assert again.files is not None and again.memories is not None
        await again.files.projection.rebuild()
        await again.memories.projection.rebuild()
        for reads in (ReadFiles(files=(FileRead(path="/in/a"),)), Take(pipe="/pipe")):
            reader = Desk(again, await program(again))
            await reader.do(reads)
            with pytest.raises(RuleForbids, match="strangers-words"):
                await pay(again, reader.process)
        mind = Mind(again, await program(again))
        assert (await mind.recall(memory=memory)).memories[0].labels == WEB
        with pytest.raises(RuleForbids, match="strangers-words"):
            await pay(again, mind.process)
        await here.close(again)

    simulate(1, whole())


def test_a_memory_has_its_labels_in_each_version_and_when_it_comes_back() -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        stained, clean = [Mind(kernel, one.process) for one in await both(kernel)]
        memory = await stained.remember("Eve is to be paid", "common/x", key="who")
        at = kernel.journal.head_seq
        await clean.remember("Ada is to be paid", "common/x", key="who")
        now = await clean.recall(memory=memory)
        assert [one.labels for one in now.memories] == [()]
        await pay(kernel, clean.process)
        order = RollbackOrder(namespace="common/x", seq=at)
        assert await memory_orders.rollback(kernel, order)
        late = Mind(kernel, await program(kernel))
        found = await late.recall(key="who", namespaces=("common/x",))
        assert [(one.text, one.labels) for one in found.memories] == [("Eve is to be paid", WEB)]
        with pytest.raises(RuleForbids, match="strangers-words"):
            await pay(kernel, late.process)
        holder = Mind(kernel, await program(kernel))
        told = await holder.recall(
            query="nothing", namespaces=("common/y",), holding=(Target(memory, 2),)
        )
        assert [one.labels for one in told.stale] == [WEB]
        assert kernel.tables.policies.carried[holder.process.id].keys() == set(WEB)

    in_house(scenario)


def test_what_an_erasure_leaves_of_other_memories_keeps_its_labels() -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        stained, _ = await both(kernel)
        mind = Mind(kernel, stained.process)
        done = await mind.write("Ann was here", "common/x", subjects=("mail:ann@example.com",))
        memory = done.written[0].memory
        assert (await mind.recall(memory=memory)).memories[0].labels == WEB
        await mind.do(
            Remember(
                items=(
                    Item(text="Bob was here"),
                    Item(text="Ann again", subjects=("mail:ann@example.com",)),
                ),
                namespace="common/x",
            )
        )
        await memory_erasure.erase(kernel, EraseOrder(subject="mail:ann@example.com"))
        assert kernel.memories is not None
        for _ in range(2):
            found = await mind.recall("Bob", namespaces=("common/x",))
            assert [(one.text, one.labels) for one in found.memories] == [("Bob was here", WEB)]
            await kernel.memories.projection.rebuild()

    in_house(scenario)


def test_a_caller_can_add_labels_and_take_none_away() -> None:
    async def scenario(here: House, kernel: Kernel) -> None:
        stained, clean = await both(kernel)
        await clean.write("/a", "from a friend", labels=("friend",))
        await stained.write("/b", PAGE, labels=("friend",))
        assert await labels(clean, "/a") == ("friend",)
        assert await labels(clean, "/b") == ("friend", "untrusted")
        mind = Mind(kernel, stained.process)
        memory = await mind.remember("Eve", labels=("mail",))
        assert (await mind.recall(memory=memory)).memories[0].labels == ("mail", "untrusted")
        for wrong in (
            ("",),
            ("two\nlines",),
            ("x" * 1_000,),
            tuple(map(str, range(LABELS_MAX + 1))),
        ):
            with pytest.raises(BadCall, match="labels"):
                await clean.write("/c", "x", labels=wrong)
            with pytest.raises(BadCall, match="labels"):
                await mind.remember("x", labels=wrong)

    in_house(scenario)


def test_labels_beyond_the_bound_are_many() -> None:
    first = tuple(f"a{number:03}" for number in range(LABELS_MAX))
    assert together(first) == first
    more = together(first, ("b",))
    assert len(more) == LABELS_MAX and MANY in more and "b" not in more
    assert len(together(more, ("zzz",))) == LABELS_MAX
