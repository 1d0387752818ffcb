"""Limits on all processes of a sandbox together: RAM and number, by control groups."""

import subprocess
from pathlib import Path

import pytest
from live_kernel import ORLOP, live_kernel
from live_sandbox import needs_sandbox, python, ran

from orlop.abi.errors import NotReady
from orlop.abi.sandbox import Sandbox
from orlop.operate.sandbox_check import sandboxes
from orlop.sandbox import cgroups
from orlop.sandbox.cells import narrowed
from orlop.sandbox.cgroups import Found, Groups
from orlop.sandbox.ground import INTERPRETER

FOUND = cgroups.find()
needs_groups = pytest.mark.skipif(FOUND.groups is None, reason=FOUND.reason)

HOGS = """
import subprocess, sys, time
hog = [sys.executable, "-c", "import sys; held = bytearray(60 << 20); sys.stdin.read()"]
hogs = [subprocess.Popen(hog, stdin=subprocess.PIPE) for _ in range(4)]
time.sleep(3)
print(sum(one.poll() is None for one in hogs), "of 4 hogs live", flush=True)
for one in hogs:
    one.kill()
"""


@needs_sandbox
@needs_groups
def test_four_processes_together_get_no_more_ram_than_their_sandbox(tmp_path: Path) -> None:
    with live_kernel() as kernel:
        wide = ran(kernel, tmp_path, "--sandbox", "--ram", "600", *python(HOGS))
        assert "4 of 4 hogs live" in wide.stdout, wide.stdout + wide.stderr
        tight = ran(kernel, tmp_path, "--sandbox", "--ram", "120", *python(HOGS))
        assert "4 of 4 hogs live" not in tight.stdout, tight.stdout + tight.stderr


@needs_groups
def test_a_group_holds_the_number_of_its_processes_and_is_removed_when_it_is_empty() -> None:
    groups = FOUND.require()
    forks = groups.entered(1 << 30, 10, (*cgroups_python(), cgroups.FORK))
    done = subprocess.run(forks, capture_output=True, text=True, timeout=60, check=False)
    assert "held" not in done.stdout and "BlockingIOError" in done.stderr
    few = groups.entered(1 << 30, 10, ("/bin/echo", "runs"))
    assert subprocess.run(few, capture_output=True, text=True, check=True).stdout == "runs\n"
    for base in groups.bases:
        for group in base.glob(f"{cgroups.PREFIX}*"):
            assert (group / "cgroup.procs").read_text() == ""
            group.rmdir()


def cgroups_python() -> tuple[str, ...]:
    return (INTERPRETER, "-I", "-S", "-c")


def test_what_is_no_place_for_groups_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no place for control groups"):
        Groups(2, (tmp_path,)).entered(1 << 30, None, ("true",))
    with pytest.raises(NotReady, match="can't be made"):
        Groups(2, (tmp_path / "missing",)).entered(1 << 30, None, ("true",))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotReady, match="nothing here"):
        Found(None, "nothing here").require()


@needs_sandbox
def test_the_doctor_says_of_limits_what_a_trial_has_shown() -> None:
    told = {check.name: check for check in sandboxes()}
    limits = told["sandbox limits"]
    assert (limits.state == "ok") is (FOUND.groups is not None)
    assert ("tried" in limits.found) is (FOUND.groups is not None)


def test_a_child_gets_no_more_ram_than_its_parent_and_a_person_no_senseless_limit() -> None:
    parent, child = Sandbox(ram_bytes=1 << 30), Sandbox(ram_bytes=1 << 31)
    assert narrowed(parent, child) == Sandbox(ram_bytes=1 << 30)
    words = [*ORLOP, "run", "--sandbox", "--ram", "1", "--", "true"]
    refused = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2 and "--ram" in refused.stderr
