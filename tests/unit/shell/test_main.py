"""The table of commands, and how fast the shell starts."""

import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from orlop.shell.commands import COMMANDS, root, run
from orlop.shell.journal import JournalGroup

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def _command(name: str) -> click.Command:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_says_what_the_table_says(name: str) -> None:
    text = _command(name).help
    assert text is not None
    assert text.startswith(COMMANDS[name].summary.removesuffix("."))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_every_command_gives_json(name: str) -> None:
    command = _command(name)
    leaves = [command]
    if isinstance(command, click.Group):
        context = click.Context(command)
        found = [command.get_command(context, sub) for sub in command.list_commands(context)]
        leaves = [leaf for leaf in found if leaf is not None]
        assert len(leaves) == len(found)
    for leaf in leaves:
        assert any("--json" in param.opts for param in leaf.params)


def test_commands_of_the_floor_above_are_entry_points() -> None:
    points = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]["orlop.commands"]
    above = [name for name, entry in COMMANDS.items() if not entry.address]
    journal = [f"journal.{n}" for n, entry in JournalGroup.entries.items() if not entry.address]
    assert sorted(points) == sorted([*above, *journal, "policy.lint"])


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(f"  {name} " in page for name in COMMANDS)


def test_a_wrong_command_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nonsense"]) == 2
    assert "No such command 'nonsense'" in capsys.readouterr().err


def test_ps_loads_only_what_it_needs(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from orlop.shell.commands import run\n"
        f"assert run(['ps', '--home', {str(tmp_path)!r}]) == 3\n"
        "print(*sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"aiohttp", "asyncio", "rich", "http.client", "ssl", "sqlite3", "importlib.metadata"}
    assert not heavy & set(ended.stdout.split())


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m orlop.shell.main explain | head -n 1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
