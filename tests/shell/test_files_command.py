"""Files from the command line, on a kernel as users have it."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel
from shell.attempts import attempt

import orlop
from orlop.abi.errors import BadCall, Conflict, Denied, DeviceFailed, NotFound, TooLarge
from orlop.abi.limits import FILE_INLINE_BYTES_MAX
from orlop.sdk.file_sync import Pair
from orlop.sdk.file_words import planned

CONFIG = """
[files]
bytes_max = 20_000_000
"""


@pytest.fixture(scope="module")
def kernel() -> object:
    with live_kernel(CONFIG) as live:
        yield live


def given(kernel: LiveKernel, text: str, *arguments: str) -> str:
    """What `orlop files …` prints with `text` on its standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "orlop.shell.main", "files", *arguments, "--home", str(kernel.home)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_files_whole_life(kernel: LiveKernel) -> None:
    assert given(kernel, "one\n", "put", "/life/a.txt") == "/life/a.txt: version 1\n"
    given(kernel, "two\n", "put", "/life/a.txt")
    given(kernel, "three\n", "put", "/life/a.txt", "--append")
    assert given(kernel, "", "cat", "/life/a.txt") == "two\nthree\n"
    assert given(kernel, "", "cat", "/life/a.txt", "--version", "1") == "one\n"
    rows = json.loads(given(kernel, "", "versions", "/life/a.txt", "--json"))
    assert [(row["version"], row["size"]) for row in rows] == [(1, 4), (2, 4), (3, 10)]
    shown = given(kernel, "", "diff", "/life/a.txt", "1", "3")
    assert "-one" in shown
    assert "+three" in shown
    given(kernel, "", "snapshot", "/life", "good")
    given(kernel, "", "mv", "/life/a.txt", "/life/b.txt")
    assert "/life/b.txt" in given(kernel, "", "ls", "/life")
    given(kernel, "", "restore", "/life", "good")
    assert "/life/a.txt" in given(kernel, "", "ls", "/life")
    given(kernel, "", "rollback", "/life/a.txt", "1")
    assert given(kernel, "", "cat", "/life/a.txt") == "one\n"
    given(kernel, "", "rm", "/life")
    assert "nothing there" in given(kernel, "", "ls", "/life")
    assert "good" in given(kernel, "", "snapshot", "/life")


def test_a_large_file_travels_in_pieces_and_a_larger_one_is_refused(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 4096 * 12
    assert len(data) > FILE_INLINE_BYTES_MAX
    source = tmp_path / "large"
    source.write_bytes(data)
    kernel.orlop("files", "put", "/large", str(source))
    kernel.orlop("files", "get", "/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data
    with orlop.connect_sync(home=kernel.home) as system, pytest.raises(TooLarge, match="bytes_max"):
        system.files.write("/too-large", (bytes(1 << 20) for _ in range(30)))


def test_a_mounted_folder_is_a_jail(kernel: LiveKernel, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (inside / "plain").write_text("plain")
    (inside / "link").symlink_to(outside / "secret")
    (inside / "way").symlink_to(outside)
    kernel.orlop("files", "mount", "/mnt/here", str(inside), "--write")
    with orlop.connect_sync(home=kernel.home) as system:
        tree = system.files
        assert [row.path for row in tree.list("/mnt/here")] == ["/mnt/here/plain"]
        assert tree.read("/mnt/here/plain") == b"plain"
        for path in ("/mnt/here/link", "/mnt/here/way/secret"):
            with pytest.raises(Denied):
                tree.read(path)
        with pytest.raises(BadCall):
            tree.read("/mnt/here/../outside/secret")
        for path in ("/mnt/here/way/new", "/mnt/here/link"):
            with pytest.raises(Denied):
                tree.write(path, "x")
        assert (outside / "secret").read_text() == "secret"
        tree.write("/mnt/here/deep/new", "new")
        assert (inside / "deep" / "new").read_text() == "new"
        with pytest.raises(NotFound):
            tree.read("/mnt/here/nothing")
        tree.delete("/mnt/here/deep/new")
        assert not (inside / "deep" / "new").exists()
    kernel.orlop("files", "unmount", "/mnt/here")
    assert (inside / "plain").read_text() == "plain"


def test_a_folder_is_kept_alike_both_ways_and_no_conflict_loses_anything(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    with orlop.connect_sync(home=kernel.home) as system:
        tree = system.files
        tree.write("/work/there.txt", "from there")
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "here.txt").write_text("from here")
        pair = Pair(tree, tmp_path, "/work")
        assert pair.bring() == 2
        assert pair.bring() == 0
        assert (tmp_path / "there.txt").read_text() == "from there"
        assert tree.read("/work/deep/here.txt") == b"from here"
        tree.write("/work/there.txt", "theirs")
        (tmp_path / "there.txt").write_text("mine")
        (tmp_path / "deep" / "here.txt").unlink()
        while pair.bring():
            pass
        assert (tmp_path / "there.txt").read_text() == "theirs"
        beside = next(tmp_path.glob("there.mine-before-*.txt"))
        assert beside.read_text() == "mine"
        assert tree.read(f"/work/{beside.name}") == b"mine"
        with pytest.raises(NotFound):
            tree.read("/work/deep/here.txt")
        again = Pair(tree, tmp_path, "/work")
        assert again.bring() == 0


def test_a_watch_and_a_pipe_wait_for_one_another(kernel: LiveKernel) -> None:
    watcher = subprocess.Popen(
        [
            *(sys.executable, "-m", "orlop.shell.main", "files", "watch", "/seen", "--once"),
            *("--since", "0", "--json", "--home", str(kernel.home)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with orlop.connect_sync(home=kernel.home) as system:
        system.files.write("/seen/a", "x")
        said, _ = watcher.communicate(timeout=60)
        assert json.loads(said)["path"] == "/seen/a"
        system.files.put("/pipes/p", b"first")
        system.files.put("/pipes/p", b"second")
        assert given(kernel, "", "take", "/pipes/p") == "first"
        assert system.files.take("/pipes/p") == b"second"


def test_plain_words_become_steps_that_wait_for_a_yes(kernel: LiveKernel) -> None:
    given(kernel, "draft\n", "put", "/words/plan")
    step = '{"steps":[{"do":"copy","path":"/words/plan","to":"/words/old"}]}'
    wish = f"copy the plan [[say {step}]]"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "orlop.shell.main", "files", "do", wish, "--model", "fake"),
            *("--home", str(kernel.home)),
        ],
        input="n\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "copy /words/plan to /words/old" in done.stderr
    assert "/words/old" not in given(kernel, "", "ls", "/words")
    given(kernel, "", "do", wish, "--model", "fake", "--yes")
    assert given(kernel, "", "cat", "/words/old") == "draft\n"
    read = '{"steps":[{"do":"read","path":"/words/old"}]}'
    assert "draft" in given(kernel, "", "do", f"[[say {read}]]", "--model", "fake")


def test_a_model_that_keeps_to_no_schema_does_nothing(kernel: LiveKernel) -> None:
    with (
        orlop.connect_sync(home=kernel.home) as system,
        pytest.raises(DeviceFailed, match="no steps"),
    ):
        planned(system, "[[say I would rather not]]", "fake")


def test_a_conversation_is_saved_shown_and_shortened(kernel: LiveKernel) -> None:
    with orlop.connect_sync(home=kernel.home, program="p", process="teller") as teller:
        call = teller.infer("[[say the code is 4711]]", model="fake").facts.call
    shown = kernel.orlop("context", "save", call, "/contexts/one")
    assert "4711" in shown
    assert "as text" in kernel.orlop("context", "show", "/contexts/one", "--model", "other")
    made = json.loads(
        kernel.orlop(
            *("context", "compact", call, "/contexts/two", "--keep-last", "0"),
            *("--summary", "a code was told", "--json"),
        )
    )
    assert made["dropped"] == 2
    assert "a code was told" in made["messages"][0]["content"]


def test_a_lost_update_is_a_conflict(kernel: LiveKernel) -> None:
    with orlop.connect_sync(home=kernel.home) as system:
        system.files.write("/cas", "1")
        system.files.write("/cas", "2", if_version=1)
        with pytest.raises(Conflict):
            system.files.write("/cas", "lost", if_version=1)


@pytest.mark.parametrize(
    "command",
    [
        ("files", "get", "/there/a"),
        ("export",),
        ("audit", "export"),
        ("policy", "template", "open", "--to"),
    ],
    ids=lambda command: command[0],
)
def test_a_local_file_that_cannot_be_written_is_named(
    kernel: LiveKernel, command: tuple[str, ...], tmp_path: Path
) -> None:
    given(kernel, "text", "put", "/there/a")
    (tmp_path / "file").write_text("no folder")
    refused = attempt(kernel.home, *command, str(tmp_path / "file" / "x"))
    assert refused.returncode == 2, refused.stderr
    assert "BadCall" in refused.stderr and str(tmp_path / "file") in refused.stderr
    assert "Traceback" not in refused.stderr


def test_each_command_gives_json_where_it_is_asked_for(kernel: LiveKernel) -> None:
    for words, said in (
        (("put", "/json/a"), {"path": "/json/a", "version": 1}),
        (("cp", "/json/a", "/json/b"), {"copied": "/json/a", "to": "/json/b"}),
        (("mv", "/json/b", "/json/c"), {"moved": "/json/b", "to": "/json/c"}),
        (("cat", "/json/c"), {"path": "/json/c", "data": "dGV4dA=="}),
        (("share", "/json", "agent:x"), {"path": "/json", "who": "agent:x", "right": "read"}),
        (("rm", "/json/c"), {"deleted": ["/json/c"]}),
        (("send", "/json/pipe"), {"pipe": "/json/pipe", "size": 4}),
        (("take", "/json/pipe"), {"path": "/json/pipe", "data": "dGV4dA=="}),
    ):
        assert json.loads(given(kernel, "text", *words, "--json")) == said


@pytest.mark.parametrize("restarts", [False, True], ids=["same kernel", "next kernel"])
def test_who_has_left_takes_nothing(kernel: LiveKernel, restarts: bool) -> None:
    """A message that was handed to nobody would be lost: it is taken once."""
    pipe = f"/pipes/left-{restarts}"
    command = [sys.executable, "-m", "orlop.shell.main", "files", "take", pipe]
    left = subprocess.Popen([*command, "--home", str(kernel.home)], stdout=subprocess.PIPE)
    with left:
        until_parked(kernel, "take", pipe)
        left.kill()
    if restarts:
        os.kill(int(json.loads(kernel.orlop("info", "--json"))["os_pid"]), signal.SIGKILL)
    given(kernel, "a job", "send", pipe)
    assert given(kernel, "", "take", pipe) == "a job"


def until_parked(kernel: LiveKernel, kind: str, what: str) -> None:
    for _ in range(200):
        trace = json.loads(kernel.orlop("trace", "client", "--json"))
        if any((call["kind"], call["what"]) == (kind, what) for call in trace["calls"]):
            return
    raise AssertionError(f"nobody has asked for {kind} {what}")


def test_a_file_that_can_not_be_kept_here_leaves_nothing_half_written(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 200_000)
    assert attempt(kernel.home, "files", "put", "/large", str(source)).returncode == 0
    lost = attempt(kernel.home, "files", "get", "/large", str(tmp_path / "nowhere" / "x"))
    assert (lost.returncode, lost.stdout) == (2, "")
    assert f"{tmp_path / 'nowhere'}: there is no such folder" in lost.stderr
    limited = f"ulimit -f 100; {shlex.join(ORLOP)} files get /large {tmp_path / 'kept'}"
    done = subprocess.run(
        ["bash", "-c", limited],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert f"{tmp_path / 'kept'}: {os.strerror(errno.EFBIG)}" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
