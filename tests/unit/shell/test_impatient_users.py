"""What the shell says to whoever misuses it, closes its output, or can't be asked."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orlop.shell.commands import run

ORLOP = [sys.executable, "-m", "orlop.shell.main"]


def _ended(
    *words: str, stdout: int | None = None, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    arguments = [*words, *(["--home", str(home)] if home else [])]
    return subprocess.run(
        [*ORLOP, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("budget", "set", "organisation", "--json"),
        ("ps", "--json", "--no-such-option"),
        ("effects", "settle", "--json"),
        ("no-such-command", "--json"),
    ],
)
def test_a_wrong_command_line_is_json_where_json_was_asked_for(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    said = json.loads(capsys.readouterr().err)["error"]
    assert (said["code"], said["name"], said["retry"]) == ("E1001", "BadCall", False)
    assert said["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--alow", "model:smollm2", "--", "prog", "--json"),
        ("schedule", "every 9s", "--overlp", "allow", "--", "prog", "--json"),
    ],
)
def test_a_mistyped_option_is_no_program_and_a_programs_options_are_its_own(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert "Error: No such option" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("explain",), ("explain", "--json"), ("--help",)])
def test_a_reader_that_has_left_before_the_first_word_is_no_error(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = _ended(*words, stdout=writer)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_output_that_is_full_is_said_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        ended = _ended("explain", stdout=full.fileno())
    why = os.strerror(errno.ENOSPC)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: could not write: {why} (to standard output")


def test_a_table_needs_no_standard_output() -> None:
    command = f"{sys.executable} -m orlop.shell.main explain >&-"
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    "words",
    [
        ("memory", "erase", "mail:ann@example.com"),
        ("journal", "forget", "acme", "--reason", "as they asked"),
    ],
)
def test_where_nobody_can_be_asked_the_way_out_is_named(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    ended = _ended(*words, home=tmp_path)
    assert ended.returncode == 2
    assert "say --yes" in ended.stderr
    assert ended.stdout == ""


def test_words_that_are_no_utf8_are_refused_by_name(tmp_path: Path) -> None:
    home = {"url": "http://127.0.0.1:1", "socket": "/nowhere", "home": str(tmp_path)}
    info = {**home, "supervisor_pid": 0, "version": "0"}
    (tmp_path / "info.json").write_text(json.dumps(info))
    (tmp_path / "keys").mkdir()
    token = tmp_path / "keys" / "operator.token"
    token.write_text("orlo_" + "0" * 64)
    token.chmod(0o600)
    ended = _ended("memory", "add", "\udcff", home=tmp_path)
    assert ended.returncode == 2
    assert "'\\udcff' is not UTF-8" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && {sys.executable} -m orlop.shell.main run -- true"
    ended = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert "was removed" in ended.stderr
