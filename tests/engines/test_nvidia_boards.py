"""Real NVIDIA boards, where there are any: what we read is what NVIDIA's own tool says."""

import shutil
import subprocess

import pytest

from orlop.hardware import nvidia

TOOL = shutil.which("nvidia-smi")
BOARDS = nvidia.look()

pytestmark = pytest.mark.skipif(
    TOOL is None or not BOARDS, reason="there is no NVIDIA board in this machine"
)


def asked(*fields: str) -> list[list[str]]:
    assert TOOL is not None
    query = [TOOL, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    said = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    return [[cell.strip() for cell in line.split(",")] for line in said.splitlines()]


def test_names_memory_and_driver_are_those_that_nvidia_smi_shows() -> None:
    wholes = [card for card in BOARDS if "parent" not in card.attributes]
    rows = asked("name", "uuid", "memory.total", "driver_version", "vbios_version")
    for card, (name, uuid, mib, driver, firmware) in zip(wholes, rows, strict=True):
        assert card.attributes["model"] == name
        assert card.attributes["uuid"] == uuid
        assert card.attributes["driver"] == driver
        assert card.attributes["firmware"] == firmware
        total = card.reading.memory_total_bytes
        assert total is not None
        assert abs(total / (1 << 20) - float(mib)) < 1


def test_sensors_are_in_range() -> None:
    for card in BOARDS:
        reading = card.reading
        assert card.health == "ready", card.reason
        assert reading.utilisation is None or 0 <= reading.utilisation <= 1
        assert reading.temperature_c is None or 0 < reading.temperature_c < 120
        assert reading.clock_share is None or 0 < reading.clock_share <= 1
        assert (reading.memory_used_bytes or 0) <= (reading.memory_total_bytes or 0)


def test_a_board_on_which_nothing_runs_has_no_processes() -> None:
    wholes = [card for card in BOARDS if "parent" not in card.attributes]
    for card, row in zip(wholes, asked("uuid"), strict=True):
        running = nvidia.computing(row[0])
        assert running is not None, card.name
