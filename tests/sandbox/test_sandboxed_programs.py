"""Programs, tools and servers of tools in sandboxes under a real kernel."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_kernel import LiveKernel, live_kernel
from live_sandbox import needs_sandbox, python, ran

pytestmark = needs_sandbox

TRIES = """
import os, sys
def can(act):
    try:
        act()
        return True
    except OSError:
        return False
home = sys.argv[1]
print(
    can(lambda: open(home + "/keys/operator.token")),
    can(lambda: open(home + "/journal.db", "rb")),
    can(lambda: open("mine", "w")),
    can(lambda: open(os.environ["TMPDIR"] + "/x", "w")),
)
"""

ASKS = """
import openai, orlop
said = openai.OpenAI().chat.completions.create(
    model="fake", messages=[{"role": "user", "content": "hello"}])
print(bool(said.choices[0].message.content))
print(bool(orlop.connect_sync().infer("hello", model="fake").text()))
"""

SPAWNS = """
import sys, orlop
from orlop.abi.sandbox import Sandbox
kernel = orlop.connect_sync()
for command in (["cat", sys.argv[1]], ["cat", "seen"]):
    print(kernel.spawn(command).wait() != 0)
aside = sys.argv[2]
# A command's folder, a virtual environment and a library to load are no way to grant oneself more.
print(kernel.spawn([aside + "/bin/tool"]).wait() != 0)
print(kernel.spawn(["cat", aside + "/secret"], env={"VIRTUAL_ENV": aside}).wait() != 0)
kernel.spawn(["true"], env={"LD_PRELOAD": sys.argv[3]}).wait()
"""

EVIL = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void out(void) {
    close(open("ESCAPED", O_CREAT | O_WRONLY, 0600));
}
"""

TOOLS = """
[tools.reads]
command = ["cat", "{seen}"]
effect = "pure"
sandbox = {{ read = ["{seen}"] }}
[tools.pries]
command = ["cat", "{secret}"]
effect = "pure"
sandbox = {{ read = ["{seen}"] }}
[mcp.time]
command = ["{python}", "-m", "mcp_server_time", "--local-timezone", "UTC"]
effect = "pure"
sandbox = {{ }}
[tools.phones]
command = ["{python}", "-c", "import socket; socket.create_connection(('127.0.0.1', {port}), 2)"]
effect = "pure"
sandbox = {{ }}
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKernel]:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "seen").write_text('"seen"')
    (folder / "secret").write_text('"secret"')
    words = {"seen": folder / "seen", "secret": folder / "secret", "python": sys.executable}
    with live_kernel(TOOLS.format(port=9, **words)) as running:
        yield running


def test_a_program_in_a_sandbox_sees_neither_the_home_nor_changes_its_folder(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    done = ran(kernel, tmp_path, "--sandbox", *python(TRIES, str(kernel.home)))
    assert done.stdout.split() == ["False", "False", "False", "True"], done.stderr


def test_it_may_change_what_it_is_given(kernel: LiveKernel, tmp_path: Path) -> None:
    words = ("--sandbox", "--write", str(tmp_path), *python(TRIES, str(kernel.home)))
    done = ran(kernel, tmp_path, *words)
    assert done.stdout.split() == ["False", "False", "True", "True"], done.stderr
    assert (tmp_path / "mine").exists()


def test_unchanged_clients_reach_the_kernel_and_nothing_else(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    done = ran(kernel, tmp_path, "--sandbox", *python(ASKS))
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_child_that_it_spawns_is_in_its_sandbox_too(
    kernel: LiveKernel, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "seen").write_text("seen")
    secret = kernel.home / "keys" / "operator.token"
    aside = tmp_path_factory.mktemp("aside")
    (aside / "bin").mkdir()
    (aside / "secret").write_text("secret")
    tool = aside / "bin" / "tool"
    tool.write_text(f"#!/bin/sh\ncat {aside}/secret\n")
    tool.chmod(0o755)
    escaped, library = aside / "escaped", tmp_path / "evil.so"
    source = tmp_path / "evil.c"
    source.write_text(EVIL.replace("ESCAPED", str(escaped)))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    words = (str(secret), str(aside), str(library))
    done = ran(kernel, tmp_path, "--sandbox", *python(SPAWNS, *words))
    assert done.stdout.split() == ["True", "False", "True", "True"], done.stderr
    assert not escaped.exists()


def test_its_exit_status_and_its_signals_pass_through(kernel: LiveKernel, tmp_path: Path) -> None:
    assert ran(kernel, tmp_path, "--sandbox", "--", "sh", "-c", "exit 7").returncode == 7
    killed = ran(kernel, tmp_path, "--sandbox", "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode == 128 + 9


def test_a_program_in_a_sandbox_that_is_told_to_end_may_tidy_up(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    script = "trap 'echo tidy > done; exit 3' TERM; echo up > begun; while :; do sleep 0.1; done"
    words = (
        "-d",
        "--sandbox",
        "--write",
        str(tmp_path),
        "--name",
        "tidy",
        "--",
        "sh",
        "-c",
        script,
    )
    assert ran(kernel, tmp_path, *words).returncode == 0
    while not (tmp_path / "begun").exists():
        subprocess.run(["sleep", "0.05"], check=True)
    kernel.orlop("kill", "tidy")
    assert json.loads(kernel.orlop("show", "tidy", "--json"))["status"] == 3
    assert (tmp_path / "done").read_text() == "tidy\n"


def test_tools_have_sandboxes_of_their_own(kernel: LiveKernel, tmp_path: Path) -> None:
    script = """
import orlop
kernel = orlop.connect_sync()
print(kernel.call_tool("reads"))
for tool in ("pries", "phones"):
    try:
        print(tool, kernel.call_tool(tool))
    except orlop.KernelError as error:
        print(error.code)
"""
    done = ran(kernel, tmp_path, *python(script))
    assert done.stdout.split() == ["seen", "E2101", "E2101"], done.stdout + done.stderr


def test_a_server_of_tools_by_others_runs_in_one_unchanged(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    while "time.get_current_time" not in kernel.orlop("tools"):
        subprocess.run(["sleep", "0.1"], check=True)
    script = """
import orlop
said = orlop.connect_sync().call_tool("time.get_current_time", timezone="UTC")
print("datetime" in str(said))
"""
    done = ran(kernel, tmp_path, *python(script))
    assert done.stdout == "True\n", done.stdout + done.stderr


def test_coverage_counts_what_went_beside_the_door(kernel: LiveKernel, tmp_path: Path) -> None:
    script = """
import orlop, subprocess
orlop.connect_sync().infer("hello", model="fake")
for name in ("a", "b"):
    open(name, "w").close()
subprocess.run(["true"], check=True)
"""
    words = ("--sandbox", "--write", str(tmp_path), "--name", "counted", *python(script))
    assert ran(kernel, tmp_path, *words).returncode == 0
    found = json.loads(kernel.orlop("coverage", "counted", "--json"))
    kinds = {one["kind"]: (one["through"], one["beside"]) for one in found["kinds"]}
    assert kinds["model"] == (1, 0)
    assert kinds["file"] == (0, 2)
    assert kinds["program"] == (0, 1)
    assert found["share"] == 1 / 4


def test_coverage_of_a_process_without_a_sandbox_is_unknown(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    assert ran(kernel, tmp_path, "--name", "free", "--", "true").returncode == 0
    found = json.loads(kernel.orlop("coverage", "free", "--json"))
    assert found["share"] is None
    assert {one["beside"] for one in found["kinds"]} == {None}


def test_a_folder_that_holds_the_whole_home_is_not_given_away(kernel: LiveKernel) -> None:
    done = ran(kernel, Path("/"), "--sandbox", "--", "true")
    assert done.returncode == 2
    assert "holds your whole home" in done.stderr
