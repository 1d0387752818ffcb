"""What programs print, kept within bounds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orlop.abi.ids import ProcessId
from orlop.machine import output
from orlop.store.output import BLOCK_BYTES, Output, Trimmer

KEPT = 256 * 1024
PROCESS = ProcessId("prc_one")

needs_holes = pytest.mark.skipif(sys.platform != "linux", reason="makes holes in files")


@pytest.fixture
def printed(tmp_path: Path) -> Path:
    """A stream of 2 MiB in numbered lines of 16 bytes."""
    path = tmp_path / "prc_one" / "1" / "out"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(b"%015d\n" % line for line in range(131_072)))
    return path


def all_of(folder: Path, offset: int = 0) -> str:
    reading, text = Output(folder, {"out": offset}), ""
    while lines := reading.more():
        text += "".join(json.loads(line)["text"] for line in lines)
    return text


@needs_holes
def test_a_stream_that_has_grown_loses_its_beginning_and_keeps_its_places(printed: Path) -> None:
    whole = printed.read_bytes()
    with printed.open("ab", buffering=0) as program:
        assert Trimmer(printed.parents[2], KEPT).trim([PROCESS]) >= len(whole) - 2 * KEPT
        program.write(b"and on it goes\n")
    assert printed.stat().st_size == len(whole) + 15
    assert printed.stat().st_blocks * 512 <= KEPT + 2 * BLOCK_BYTES
    kept = printed.read_bytes()[-KEPT:]
    assert kept == (whole + b"and on it goes\n")[-KEPT:]
    place = printed.stat().st_size - 1_000
    assert all_of(printed.parent, place).encode() == kept[-1_000:]


@needs_holes
def test_whoever_reads_from_the_beginning_is_told_how_much_is_gone(printed: Path) -> None:
    whole = printed.read_bytes()
    Trimmer(printed.parents[2], KEPT).trim([PROCESS])
    note, _, rest = all_of(printed.parent).partition("\n")
    gone = int(note.removeprefix("[").partition(" ")[0])
    assert note == f"[{gone} bytes are gone: output.stream_bytes]"
    assert len(whole) - KEPT - BLOCK_BYTES <= gone <= len(whole) - KEPT
    assert rest.encode() == whole[gone:]


def test_a_stream_within_its_bound_is_left_alone(printed: Path) -> None:
    whole = printed.read_bytes()
    assert Trimmer(printed.parents[2], len(whole)).trim([PROCESS, ProcessId("prc_none")]) == 0
    assert all_of(printed.parent).encode() == whole


def test_folders_of_processes_that_nobody_knows_go_and_nothing_else(printed: Path) -> None:
    run = printed.parents[2]
    for name in ("prc_two/1", "something/else"):
        (run / name).mkdir(parents=True)
    Trimmer(run, KEPT).remove_others(frozenset([ProcessId("prc_two")]))
    assert sorted(path.name for path in run.iterdir()) == ["prc_two", "something"]


PRINTER = """
import os, sys
from pathlib import Path
from orlop.machine.output import speak_to, turn_over
path = Path(sys.argv[1])
speak_to(path)
turned = []
for page in range(3):
    os.write(2, b"%d" % page * 600)
    turned.append(turn_over(path, 1000))
    print(page, flush=True)
os.write(1, repr(turned).encode())
"""


def test_a_log_begins_anew_and_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "kernel.log"
    subprocess.run([sys.executable, "-c", PRINTER, str(path)], check=True)
    assert (tmp_path / "kernel.log.1").read_text() == "0" * 600 + "0\n" + "1" * 600
    assert path.read_text() == "1\n" + "2" * 600 + "2\n" + "[False, True, False]"


def test_a_log_that_this_process_does_not_write_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kernel.log"
    path.write_bytes(bytes(5_000))
    assert not output.turn_over(path, 1_000)
    assert os.listdir(tmp_path) == ["kernel.log"]
