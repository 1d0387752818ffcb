"""Ctrl-C at moments when no command could care for it yet."""

import subprocess
import sys

import pytest

from orlop.console.exits import INTERRUPTED

PRESSED = """
import importlib.abc, os, signal, sys

class Presses(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {when!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Presses())
from orlop.shell.main import main
sys.argv = ["orlop", "ps", "--home", "/nonexistent"]
{before}
main()
"""


def _run(when: str, before: str = "") -> tuple[int, str, str]:
    program = PRESSED.format(when=when, before=before)
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    "when",
    ["click", "msgspec", "orlop.shell.commands", "orlop.sdk.operator", "orlop.shell.processes"],
)
def test_ctrl_c_while_modules_are_read_says_nothing(when: str) -> None:
    assert _run(when) == (INTERRUPTED, "", "")


def test_ctrl_c_while_python_ends_says_nothing() -> None:
    at_end = "import atexit; atexit.register(os.kill, os.getpid(), signal.SIGINT)"
    status, said, complaint = _run("", at_end)
    assert (status, said) == (INTERRUPTED, "")
    assert "E3003" in complaint
    assert "Traceback" not in complaint


def test_ctrl_c_is_ignored_where_the_shell_said_so() -> None:
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    status, _, complaint = _run("msgspec", ignored)
    assert status == 3
    assert "E3003" in complaint
