"""Folders of the host as tools: nothing leads out, and each change happens once."""

import asyncio
import base64
import os
import random
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from orlop.abi.errors import BadCall, KernelError, Misconfigured, TooLarge, ToolFailed
from orlop.effects import folder
from orlop.effects.folder import Folder, FolderConfig, FolderTool
from orlop.machine.clock import SystemClock
from orlop.machine.offload import InlineOffload
from orlop.tools.catalog import Catalog

Tools = dict[str, FolderTool]

CRASHER = Path(__file__).parent / "folder_crasher.py"


def with_folder(
    root: Path, scenario: Callable[[Tools], Coroutine[None, None, None]], **how: object
) -> None:
    config = FolderConfig(path=str(root), writes=True, **how)  # type: ignore[arg-type]
    place = Folder(config, SystemClock(), InlineOffload(), InlineOffload())
    built = folder.tools("docs", place)
    Catalog(built)
    asyncio.run(scenario({tool.card.name.removeprefix("docs."): tool for tool in built}))


async def told(tool: FolderTool, key: str = "key", **arguments: object) -> dict[str, object]:
    answer = await tool.call(arguments, key, 10)
    assert isinstance(answer, dict)
    return answer


async def error_of(tool: FolderTool, key: str = "key", **arguments: object) -> KernelError:
    with pytest.raises(KernelError) as caught:
        await tool.call(arguments, key, 10)
    return caught.value


def test_what_is_written_is_read_and_listed(tmp_path: Path) -> None:
    async def scenario(tools: Tools) -> None:
        made = await told(tools["write"], "k1", path="a/b/note.txt", text="naïve\n")
        assert made["created"] is True and made["size"] == 7
        assert (tmp_path / "a/b/note.txt").read_bytes() == "naïve\n".encode()
        read = await told(tools["read"], path="a/b/note.txt")
        assert read == {"size": 7, "version": made["version"], "text": "naïve\n"}
        more = await told(tools["append"], "k2", path="a/b/note.txt", text="more")
        assert more["created"] is False
        assert (tmp_path / "a/b/note.txt").read_bytes() == "naïve\nmore".encode()
        listed = await told(tools["list"], path="a/b/")
        entry = {"name": "note.txt", "size": 11, "version": more["version"]}
        assert listed == {"entries": [entry], "more": False}
        assert (await told(tools["list"]))["entries"] == [{"name": "a", "folder": True}]

    with_folder(tmp_path, scenario)


def test_one_effect_happens_once_whatever_came_after_it(tmp_path: Path) -> None:
    async def scenario(tools: Tools) -> None:
        first = await told(tools["append"], "k1", path="log", text="a\n")
        await told(tools["append"], "k2", path="log", text="b\n")
        assert await told(tools["append"], "k1", path="log", text="a\n") == first
        assert (tmp_path / "log").read_text() == "a\nb\n"
        await told(tools["move"], "k3", path="log", to="old/log")
        await told(tools["write"], "k4", path="log", text="new")
        await told(tools["move"], "k3", path="log", to="old/log")
        assert (tmp_path / "log").read_text() == "new"
        await told(tools["remove"], "k5", path="log")
        (tmp_path / "log").write_text("somebody else's")
        await told(tools["remove"], "k5", path="log")
        assert (tmp_path / "log").read_text() == "somebody else's"
        assert await tools["remove"].happened("k5") is True
        assert await tools["remove"].happened("k6") is False
        other = await error_of(tools["remove"], "k4", path="log")
        assert isinstance(other, ToolFailed) and "another change" in other.message

    with_folder(tmp_path, scenario)


def test_changes_are_undone_and_what_others_have_changed_is_left(tmp_path: Path) -> None:
    async def scenario(tools: Tools) -> None:
        (tmp_path / "old").write_text("first")
        await told(tools["write"], "k1", path="old", text="second")
        await told(tools["write"], "k2", path="new", text="x")
        await told(tools["move"], "k3", path="old", to="moved")
        await told(tools["remove"], "k4", path="new")
        for key in ("k4", "k3", "k2", "k1"):
            again = [await told(tools["undo"], f"{key}.undo", effect=key) for _ in range(2)]
            assert again[0] == again[1] == {"undone": True, "effect": f"{key}.undo"}
        assert (tmp_path / "old").read_text() == "first"
        assert sorted(os.listdir(tmp_path)) == [".orlop", "old"]
        # A retry of what was undone does not do it again.
        await told(tools["write"], "k2", path="new", text="x")
        await told(tools["remove"], "k4", path="new")
        assert sorted(os.listdir(tmp_path)) == [".orlop", "old"]
        await told(tools["write"], "k5", path="old", text="third")
        (tmp_path / "old").write_text("by hand")
        refused = await error_of(tools["undo"], "k5.undo", effect="k5")
        assert "changed since" in refused.message
        assert (tmp_path / "old").read_text() == "by hand"
        assert "no change named" in (await error_of(tools["undo"], effect="k9")).message

    with_folder(tmp_path, scenario)


def test_a_version_that_is_not_the_newest_changes_nothing(tmp_path: Path) -> None:
    async def scenario(tools: Tools) -> None:
        seen = (await told(tools["write"], "k1", path="a", text="1"))["version"]
        await told(tools["write"], "k2", path="a", text="2", if_version=seen)
        for tool in ("write", "append"):
            refused = await error_of(tools[tool], "k3", path="a", text="3", if_version=seen)
            assert isinstance(refused, ToolFailed)
        assert isinstance(await error_of(tools["remove"], path="a", if_version=seen), ToolFailed)
        there = await error_of(tools["write"], "k4", path="a", text="3", if_version="none")
        assert isinstance(there, ToolFailed)
        assert (tmp_path / "a").read_text() == "2"
        assert "k3" not in "".join(os.listdir(tmp_path / ".orlop"))

    with_folder(tmp_path, scenario)


def test_no_path_and_no_link_leads_out(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    root.mkdir()
    secret.mkdir()
    (secret / "key").write_text("hidden")
    (root / "link").symlink_to(secret)
    (root / "file").symlink_to(secret / "key")
    (root / "into").mkdir()
    os.mkfifo(root / "pipe")

    async def scenario(tools: Tools) -> None:
        ways = ["../secret/key", "/etc/passwd", "into/../../secret/key", "a//b", ".", "a\0b", ""]
        for path in [*ways, ".orlop/x", "link/key", "file", "pipe", "into"]:
            for does in ("read", "remove"):
                error = await error_of(tools[does], path=path)
                assert isinstance(error, BadCall | ToolFailed), (does, path, error)
            error = await error_of(tools["write"], path=path, text="x")
            assert isinstance(error, BadCall | ToolFailed), (path, error)
            error = await error_of(tools["move"], path="into", to=path)
            assert isinstance(error, BadCall | ToolFailed), (path, error)
        assert (secret / "key").read_text() == "hidden"
        assert sorted(os.listdir(secret)) == ["key"]
        names = [one["name"] for one in (await told(tools["list"]))["entries"]]  # type: ignore[attr-defined]
        assert names == ["into"]

    with_folder(root, scenario)


def test_long_texts_are_read_in_pieces_of_whole_characters(tmp_path: Path) -> None:
    text = "aé漢😀" * 40
    (tmp_path / "text").write_text(text)
    (tmp_path / "bytes").write_bytes(bytes(range(256)))

    async def scenario(tools: Tools) -> None:
        found, offset = "", 0
        while True:
            piece = await told(tools["read"], path="text", offset=offset, bytes=7)
            found += str(piece["text"])
            if "next" not in piece:
                break
            assert isinstance(piece["next"], int) and piece["next"] > offset
            offset = piece["next"]
        assert found == text
        assert "UTF-8" in (await error_of(tools["read"], path="bytes")).message
        packed = await told(tools["read"], path="bytes", **{"as": "base64"})
        assert base64.b64decode(str(packed["base64"])) == bytes(range(256))
        await told(tools["write"], path="copy", base64=packed["base64"])
        assert (tmp_path / "copy").read_bytes() == bytes(range(256))
        for wrong in ({}, {"text": "a", "base64": "YQ=="}, {"base64": "?"}, {"text": "\ud800"}):
            assert isinstance(await error_of(tools["write"], path="x", **wrong), BadCall)

    with_folder(tmp_path, scenario)


def test_a_file_keeps_its_mode_and_a_large_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("old")
    (tmp_path / "run.sh").chmod(0o750)

    async def scenario(tools: Tools) -> None:
        await told(tools["write"], path="run.sh", text="new")
        assert (tmp_path / "run.sh").stat().st_mode & 0o777 == 0o750
        assert isinstance(await error_of(tools["write"], "b", path="c", text="x" * 11), TooLarge)
        large = await error_of(tools["append"], "c", path="run.sh", text="x" * 8)
        assert isinstance(large, TooLarge)
        assert (tmp_path / "run.sh").read_text() == "new"

    with_folder(tmp_path, scenario, bytes_max=10)


def test_what_was_kept_is_given_up_in_time_and_what_happened_is_still_known(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("first")
    os.link(tmp_path / "a", tmp_path / "same")

    async def scenario(tools: Tools) -> None:
        await told(tools["write"], "k1", path="a", text="second")
        changes = tools["write"]._folder.changes
        changes.forget(SystemClock().wall_ns() + 1)
        assert (tmp_path / "same").read_text() == "first"
        assert await tools["write"].happened("k1") is True
        assert "no longer kept" in (await error_of(tools["undo"], effect="k1")).message
        assert (tmp_path / "a").read_text() == "second"

    with_folder(tmp_path, scenario)


def test_a_person_sees_the_lines_that_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")

    async def scenario(tools: Tools) -> None:
        said = await tools["write"].preview({"path": "a", "text": "one\nthree\n"}, 5)
        assert said.splitlines()[-3:] == [" one", "-two", "+three"]
        assert (tmp_path / "a").read_text() == "one\ntwo\n"

    with_folder(tmp_path, scenario)


def test_a_folder_that_may_not_be_changed_has_no_tools_that_change_it(tmp_path: Path) -> None:
    config = FolderConfig(path=str(tmp_path))
    place = Folder(config, SystemClock(), InlineOffload(), InlineOffload())
    tools = {tool.card.name: tool for tool in folder.tools("docs", place)}
    assert sorted(tools) == ["docs.list", "docs.read"]
    assert asyncio.run(told(tools["docs.list"])) == {"entries": [], "more": False}
    assert os.listdir(tmp_path) == []


def test_the_kernels_home_is_no_folder_for_agents(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for path in (home, home / "keys", tmp_path, Path("relative")):
        with pytest.raises(Misconfigured):
            folder.check({"docs": FolderConfig(path=str(path))}, home)
    folder.check({"docs": FolderConfig(path=str(tmp_path / "docs"))}, home)


@pytest.mark.parametrize("does", ["write", "append", "remove", "move", "undo"])
@pytest.mark.parametrize("point", ["folder.recorded", "folder.renamed"])
def test_a_change_that_was_cut_off_is_there_once_in_the_end(
    does: str, point: str, tmp_path: Path
) -> None:
    killed = crash(tmp_path, does, f"{point}:{2 if does == 'undo' else 1}")
    assert killed == -9
    assert crash(tmp_path, does, "") == 0
    assert_once(tmp_path, does)


@pytest.mark.parametrize("seed", range(3))
def test_a_change_that_is_killed_at_any_time_is_there_once_in_the_end(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    does = chance.choice(["write", "append", "remove", "move", "undo"])
    for _ in range(4):  # Cut off anywhere: before, in the middle, after.
        running = subprocess.Popen([sys.executable, str(CRASHER), str(tmp_path), does])
        try:
            running.wait(chance.uniform(0.05, 0.5))
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    assert crash(tmp_path, does, "") == 0
    assert_once(tmp_path, does)


def crash(root: Path, does: str, fault: str) -> int:
    """One change by a process of its own, which dies at the fault."""
    environment = {**os.environ, "ORLOP_FAULT": fault}
    done = subprocess.run([sys.executable, str(CRASHER), str(root), does], env=environment)
    return done.returncode


def assert_once(root: Path, does: str) -> None:
    there = {path.name: path.read_text() for path in root.iterdir() if path.is_file()}
    assert (
        there
        == {
            "write": {"a": "new"},
            "append": {"a": "old+new"},
            "remove": {},
            "move": {"b": "old"},
            "undo": {"a": "old"},
        }[does]
    )
