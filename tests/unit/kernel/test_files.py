"""Files: versions, comparisons, moments that come back, rights, pipes."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import ParamSpec, TypeVar

import pytest
from file_kernel import Desk, FileComputer
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Call
from orlop.abi.errors import BadCall, Conflict, Denied, KernelError, NotFound, TooLarge
from orlop.abi.files import (
    Contents,
    FileRead,
    FileWrite,
    Found,
    Listing,
    Piece,
    Put,
    ReadFiles,
    SearchFiles,
    Take,
    WatchFiles,
    WriteFiles,
)
from orlop.abi.ids import Seq
from orlop.abi.limits import FILE_PIECE_BYTES
from orlop.files.live import FileConfig
from orlop.kernel import syscall
from orlop.machine.offload import InlineOffload
from orlop.state.core import Kernel
from orlop.subsystems import file_content

P = ParamSpec("P")
R = TypeVar("R")
Scenario = Callable[[Desk], Coroutine[object, object, None]]


PLAIN = FileConfig()


def at_a_desk(scenario: Scenario, files: FileConfig = PLAIN) -> None:
    """Run `scenario` for a process called `ann`, then check the tree."""

    async def whole(_: Computer, kernel: Kernel) -> None:
        desk = Desk(kernel, await program(kernel, name="ann"))
        await scenario(desk)
        await desk.check()

    on(lambda: FileComputer(files=files), whole)


async def refused(doing: Coroutine[object, object, object], kind: type[KernelError]) -> str:
    with pytest.raises(kind) as raised:
        await doing
    return raised.value.message


def test_every_write_is_a_version_and_each_can_be_read() -> None:
    async def scenario(desk: Desk) -> None:
        assert await desk.write("/notes.txt", "one") == 1
        assert await desk.write("/notes.txt", "two") == 2
        assert await desk.write("/notes.txt", " and three", append=True) == 3
        assert await desk.read("/notes.txt") == "two and three"
        assert await desk.read("/notes.txt", version=1) == "one"
        assert await desk.read("/notes.txt", version=2) == "two"
        listed = await desk.listing("/notes.txt", what="versions")
        assert [(row.version, row.size) for row in listed.files] == [(1, 3), (2, 3), (3, 13)]

    at_a_desk(scenario)


def test_a_relative_path_is_in_the_agents_own_home() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("diary.txt", "dear diary")
        assert await desk.read("/home/ann/diary.txt") == "dear diary"
        other = Desk(desk.kernel, await program(desk.kernel, name="bob"))
        await refused(other.read("/home/ann/diary.txt"), Denied)
        assert await other.paths("/home/ann", deep=True) == []

    at_a_desk(scenario)


def test_a_write_that_expects_another_version_changes_nothing() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/a", "1", if_version=0)
        said = await refused(desk.write("/a", "x", if_version=0), Conflict)
        assert "at version 1" in said
        await desk.write("/a", "2", if_version=1)
        await refused(desk.write("/a", "lost", if_version=1), Conflict)
        await refused(desk.write("/nothing", "x", if_version=3), Conflict)
        assert await desk.read("/a") == "2"

    at_a_desk(scenario)


def test_of_many_writers_that_saw_the_same_version_one_wins() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/counter", "0")
        results = await asyncio.gather(
            *(desk.write("/counter", str(number), if_version=1) for number in range(20)),
            return_exceptions=True,
        )
        assert [one for one in results if not isinstance(one, Conflict)] == [2]

    at_a_desk(scenario)


def test_several_files_are_written_together_or_not_at_all() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/b", "there")
        both = (FileWrite(path="/a", data=b"1"), FileWrite(path="/b", data=b"2", if_version=0))
        await refused(desk.do(WriteFiles(files=both)), Conflict)
        assert await desk.paths("/") == ["/b"]

    at_a_desk(scenario)


def test_deleting_moving_and_copying_a_folder_keeps_every_version() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/old/a", "a")
        await desk.write("/old/deep/b", "b")
        await desk.change("copy", "/old", to="/copy")
        await desk.change("move", "/old", to="/new")
        assert await desk.paths("/", deep=True) == [
            "/copy/a",
            "/copy/deep/b",
            "/new/a",
            "/new/deep/b",
        ]
        assert await desk.read("/new/deep/b") == "b"
        assert await desk.read("/old/a", version=1) == "a"
        await refused(desk.read("/old/a"), NotFound)
        await desk.change("delete", "/new")
        assert await desk.paths("/") == ["/copy"]
        await refused(desk.change("delete", "/new"), NotFound)
        await refused(desk.change("move", "/copy", to="/copy/inside"), BadCall)

    at_a_desk(scenario)


def test_rollback_appends_what_was() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/a", "one")
        await desk.write("/a", "two")
        await desk.change("rollback", "/a", version=1)
        assert await desk.read("/a") == "one"
        assert await desk.read("/a", version=2) == "two"
        await desk.write("/a", "!", append=True)
        await desk.write("/a", "?", append=True)
        await desk.change("rollback", "/a", version=4)
        await desk.write("/a", "#", append=True)
        assert await desk.read("/a") == "one!#"
        assert await desk.read("/a", version=5) == "one!?"
        await refused(desk.change("rollback", "/a", version=99), NotFound)
        await refused(desk.change("rollback", "/a"), BadCall)

    at_a_desk(scenario)


def test_a_snapshot_brings_a_whole_folder_back() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/w/a", "a1")
        await desk.write("/w/b", "b1")
        await desk.change("snapshot", "/w", to="before")
        await desk.write("/w/a", "a2")
        await desk.change("delete", "/w/b")
        await desk.write("/w/c", "c")
        assert await desk.read("/w/a", at="before") == "a1"
        assert await desk.paths("/w", at="before", deep=True) == ["/w/a", "/w/b"]
        await desk.change("restore", "/w", to="before")
        assert await desk.paths("/w") == ["/w/a", "/w/b"]
        assert await desk.read("/w/a") == "a1"
        assert await desk.read("/w/c", version=1) == "c"
        again = await desk.change("restore", "/w", to="before")
        assert again.files == ()
        await refused(desk.change("restore", "/w", to="never"), NotFound)
        await refused(desk.change("snapshot", "/w", to="12"), BadCall)

    at_a_desk(scenario)


def test_what_is_shared_is_for_those_it_is_shared_with() -> None:
    async def scenario(desk: Desk) -> None:
        bob = Desk(desk.kernel, await program(desk.kernel, name="bob"))
        cid = Desk(desk.kernel, await program(desk.kernel, name="cid"))
        await desk.write("plan.txt", "secret")
        await desk.change("share", "/home/ann/plan.txt", who="agent:bob", right="read")
        assert await bob.read("/home/ann/plan.txt") == "secret"
        await refused(bob.write("/home/ann/plan.txt", "x"), Denied)
        await refused(cid.read("/home/ann/plan.txt"), Denied)
        await desk.change("share", "/home/ann/plan.txt", who="agent:bob", right="write")
        await bob.write("/home/ann/plan.txt", "ours")
        await desk.change("share", "/home/ann/plan.txt", who="agent:bob", right=None)
        await refused(bob.read("/home/ann/plan.txt"), Denied)
        await refused(bob.change("share", "/home/ann", who="agent:bob"), Denied)
        assert await desk.read("plan.txt") == "ours"
        await refused(desk.change("share", "/x", who="bob"), BadCall)

    at_a_desk(scenario)


def test_a_listing_goes_page_by_page_and_shows_folders() -> None:
    async def scenario(desk: Desk) -> None:
        for name in ("a", "b/1", "b/2", "b!", "c/d/e"):
            await desk.write(f"/{name}", name)
        assert await desk.paths("/") == ["/a", "/b!", "/b", "/c"]
        seen, more = list[str](), ""
        while True:
            page = await desk.listing("/", limit=1, after=more)
            seen += [row.path for row in page.files]
            if not (more := page.more):
                break
        assert seen == ["/a", "/b!", "/b", "/c"]
        deep = await desk.listing("/", deep=True, limit=2)
        assert [row.path for row in deep.files] == ["/a", "/b!"]
        assert await desk.paths("/", deep=True, after=deep.more) == ["/b/1", "/b/2", "/c/d/e"]

    at_a_desk(scenario)


def test_a_watch_waits_for_a_change_and_tells_deletions_too() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/w/a", "a")
        since = (await desk.listing("/w")).at
        watch = syscall.enter(desk.kernel, desk.process, WatchFiles(path="/w", since=since))
        await desk.write("/elsewhere", "x")
        assert not watch.ended.is_set()
        made = await desk.change("delete", "/w/a")
        done = await result(watch)
        assert isinstance(done, Listing)
        assert [(row.path, row.kind) for row in done.files] == [("/w/a", "deleted")]
        assert done.at >= made.at
        late = await desk.do(WatchFiles(path="/w", since=Seq(0)))
        assert isinstance(late, Listing)
        assert late.files[0].path == "/w/a"

    at_a_desk(scenario)


def test_a_pipe_gives_each_message_once_and_in_order() -> None:
    async def scenario(desk: Desk) -> None:
        takers = [syscall.enter(desk.kernel, desk.process, Take(pipe="/p/q")) for _ in range(3)]
        for number in range(3):
            await desk.do(Put(pipe="/p/q", data=str(number).encode()))
        taken = [await result(taker) for taker in takers]
        got = [one.files[0].data for one in taken if isinstance(one, Contents)]
        assert sorted(got) == [b"0", b"1", b"2"]
        for number in range(3):
            await desk.do(Put(pipe="/p/q", data=str(number).encode()))
        for number in range(3):
            done = await desk.do(Take(pipe="/p/q"))
            assert isinstance(done, Contents)
            assert done.files[0].data == str(number).encode()

    at_a_desk(scenario)


def test_bad_paths_are_refused_by_name() -> None:
    async def scenario(desk: Desk) -> None:
        for path in ("../up", "/a/../b", "/", "", "/a/", "a\0b", "/x" * 3000, "/" + "n" * 256):
            await refused(desk.write(path, "x"), BadCall)
        await refused(desk.read("/nothing"), NotFound)
        twice = (FileWrite(path="/a", data=b"1"), FileWrite(path="/a", data=b"2"))
        await refused(desk.do(WriteFiles(files=twice)), BadCall)
        await refused(desk.do(WriteFiles(files=())), BadCall)
        await refused(desk.do(ReadFiles(files=(FileRead(path="/a", offset=-1),))), BadCall)
        await refused(desk.listing("/", at="no such snapshot"), NotFound)

    at_a_desk(scenario)


def test_content_that_was_never_stored_can_not_be_named() -> None:
    async def scenario(desk: Desk) -> None:
        guess = FileWrite(path="/a", pieces=(Piece("ab" * 16, 5),))
        assert "never stored" in await refused(desk.do(WriteFiles(files=(guess,))), BadCall)

    at_a_desk(scenario)


def test_a_file_over_the_limit_is_refused_and_says_which_limit() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/small", "x" * 60)
        said = await refused(desk.write("/large", "x" * 101), TooLarge)
        assert "files.bytes_max" in said
        await refused(desk.write("/small", "x" * 60, append=True), TooLarge)
        await refused(desk.write("/huge", "x" * (8 * 1024 * 1024 + 1)), TooLarge)

    at_a_desk(scenario, FileConfig(bytes_max=100))


async def hits(desk: Desk, text: str, **how: object) -> Found:
    """Of a search, once all is indexed."""
    while True:
        done = await desk.do(SearchFiles(text=text, **how))  # type: ignore[arg-type]
        assert isinstance(done, Found)
        if not done.unread:
            return done
        await desk.kernel.clock.sleep(1.0)


def test_text_is_found_by_its_words_as_it_changes_and_only_by_those_who_may_read_it() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/docs/bees", "Bees fly to the lime trees in June.")
        await desk.write("/docs/rivers", "The Mur flows through Graz.\n\n" + "water " * 900)
        await desk.write("/docs/noise", "\0\1\2 Graz")
        await desk.write("diary", "I went to Graz.")
        assert [hit.path for hit in (await hits(desk, "lime trees")).hits] == ["/docs/bees"]
        found = {hit.path for hit in (await hits(desk, "Graz")).hits}
        assert found == {"/docs/rivers", "/home/ann/diary"}
        bob = Desk(desk.kernel, await program(desk.kernel, name="bob"))
        assert [hit.path for hit in (await hits(bob, "Graz")).hits] == ["/docs/rivers"]
        await desk.write("/docs/bees", "\nWasps do not.", append=True)
        assert [hit.path for hit in (await hits(desk, "wasps")).hits] == ["/docs/bees"]
        await desk.write("/docs/bees", "Nothing of the kind.")
        assert not (await hits(desk, "lime wasps")).hits
        await desk.change("delete", "/docs/rivers")
        assert [hit.path for hit in (await hits(desk, "Graz")).hits] == ["/home/ann/diary"]
        await refused(desk.do(SearchFiles(text=" ")), BadCall)

    at_a_desk(scenario)


def test_a_search_by_meaning_embeds_each_passage_once() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("/a", "alpha")
        await desk.write("/b", "beta")
        first = await hits(desk, "alpha", model="fake-embed")
        assert first.hits[0].path == "/a"
        assert first.how == "words and fake-embed"
        assert {hit.path for hit in first.hits} == {"/a", "/b"}
        await refused(hits(desk, "alpha", model="no such model"), NotFound)

    at_a_desk(scenario)


def test_a_long_file_is_read_by_stretches() -> None:
    async def scenario(desk: Desk) -> None:
        text = "".join(chr(97 + number % 26) for number in range(2_500_000))
        await desk.write("/long", text)
        for offset, length in ((0, 10), (1_048_570, 20), (2_499_990, 100), (3_000_000, 5)):
            call: Call = ReadFiles(files=(FileRead(path="/long", offset=offset, length=length),))
            done = await desk.do(call)
            assert isinstance(done, Contents)
            assert done.files[0].data.decode() == text[offset : offset + length]
            assert done.files[0].size == len(text)

    at_a_desk(scenario)


class Watched(InlineOffload):
    """Notes how many large parts came by, to be packed beside the loop."""

    def __init__(self) -> None:
        self.packed: list[int] = []

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        made = await super().__call__(work, *args, **kwargs)
        if isinstance(made, tuple):
            self.packed += [len(part.data) for part in made if part.packed]
        return made


def test_what_is_large_is_packed_beside_the_loop_and_read_as_it_was() -> None:
    async def scenario(desk: Desk) -> None:
        assert desk.kernel.files is not None
        watched = Watched()
        desk.kernel.files = replace(desk.kernel.files, disk=watched)
        large = "".join(f"line {number}\n" for number in range(120_000))
        assert len(large) > FILE_PIECE_BYTES
        await desk.write("/small.txt", "small")
        await desk.write("/large.txt", large)
        pieces = await file_content.store(
            desk.kernel, desk.process, large[:FILE_PIECE_BYTES].encode()
        )
        await desk.changed(WriteFiles(files=(FileWrite(path="/again.txt", pieces=pieces),)))
        rest = len(large) - FILE_PIECE_BYTES
        assert watched.packed == [FILE_PIECE_BYTES, rest, FILE_PIECE_BYTES]
        assert await desk.read("/large.txt") == large
        assert await desk.read("/again.txt") == large[:FILE_PIECE_BYTES]

    at_a_desk(scenario)


def test_a_file_beside_a_folder_that_its_name_begins_with_is_listed_in_pages_of_any_size() -> None:
    async def scenario(desk: Desk) -> None:
        for path in ("v1/a", "v1/b", "v10", "v2", "v3/deep/er", "v30", "v4"):
            await desk.write(f"/book/{path}", path)
        whole = [f"/book/{name}" for name in ("v1", "v10", "v2", "v3", "v30", "v4")]
        assert await desk.paths("/book") == whole
        for limit in range(1, 7):
            found, after = list[str](), ""
            while len(found) <= len(whole):
                page = await desk.listing("/book", limit=limit, after=after)
                found += [row.path for row in page.files]
                if not (after := page.more):
                    break
            assert found == whole

    at_a_desk(scenario)
