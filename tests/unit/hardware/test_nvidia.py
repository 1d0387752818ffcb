"""NVIDIA's boards through a library of ours that speaks NVML's own ABI (`nvml_library.c`)."""

from pathlib import Path

import nvml_library
import pytest

from orlop.abi.devices import DeviceCard
from orlop.hardware import nvidia
from orlop.hardware.sight import Sight


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(nvml_library.build(tmp_path_factory.mktemp("nvml")))


def look(library: str) -> dict[str, DeviceCard]:
    return {card.name: card for card in nvidia.look([library])}


def test_a_board_tells_what_it_is(library: str) -> None:
    h200 = look(library)["nvidia0"]
    assert h200.kind == "gpu"
    assert h200.attributes == {
        "vendor": "nvidia",
        "model": "NVIDIA H200",
        "uuid": "GPU-00000000",
        "driver": "570.86.15",
        "firmware": "96.00.99.00.01",
        "memory_gb": 150.8,
        "hbm_gb": 150.8,
        "bandwidth_gb_s": 4916.7,
        "features": ("sm_90",),
        "numa_node": 0,
        "pcie_generation": 5,
        "pcie_width": 16,
        "interconnect": "nvlink",
        "links": 18,
    }


def test_a_board_tells_how_it_is(library: str) -> None:
    reading = look(library)["nvidia0"].reading
    assert reading.utilisation == 0.37
    assert reading.memory_used_bytes == 1 << 30
    assert reading.temperature_c == 41
    assert reading.power_w == 120.5
    assert reading.clock_share == 1.0
    assert reading.throttled == ()
    assert reading.memory_errors == 0


def test_what_a_board_does_not_tell_is_absent(library: str) -> None:
    a100 = look(library)["nvidia1"]
    assert "bandwidth_gb_s" not in a100.attributes
    assert "links" not in a100.attributes
    assert a100.reading.utilisation is None


def test_a_divided_board_comes_with_its_slices(library: str) -> None:
    cards = look(library)
    assert cards["nvidia1"].attributes["divided"] is True
    slices = [cards["nvidia1.mig0"], cards["nvidia1.mig1"]]
    assert [card.attributes["hbm_gb"] for card in slices] == [20.9, 20.9]
    assert {card.attributes["parent"] for card in slices} == {"nvidia1"}
    assert len({card.attributes["uuid"] for card in slices}) == 2


def test_a_lost_board_is_told_of_with_the_librarys_words(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOST", "0")
    cards = look(library)
    assert cards["nvidia0"].health == "lost"
    assert "GPU is lost" in cards["nvidia0"].reason
    assert cards["nvidia1"].health == "ready"


def test_heat_is_a_reason_and_a_power_cap_is_none(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOT", "0")
    reading = look(library)["nvidia0"].reading
    assert reading.throttled == ("heat",)
    assert reading.clock_share == 0.25


def test_broken_memory_is_told_of(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRORS", "3")
    monkeypatch.setenv("PENDING", "0")
    reading = look(library)["nvidia0"].reading
    assert reading.memory_errors == 3
    assert "needs a reset" in reading.memory_broken


def test_who_computes_on_a_board_is_known(library: str) -> None:
    assert nvidia.computing("GPU-00000000", [library]) == (4242,)
    assert nvidia.computing("MIG-00000001-1", [library]) == (4242,)
    assert nvidia.computing("GPU-elsewhere", [library]) is None


def test_without_library_or_driver_there_are_no_boards(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nvidia.look(["libnothing.so"]) == []
    monkeypatch.setenv("BROKEN_DRIVER", "1")
    assert nvidia.look([library]) == []


def test_a_look_at_everything_has_the_host_beside_each_board(library: str, tmp_path: Path) -> None:
    sight = Sight(tmp_path, libraries=[library])
    cards = {str(card.name): card for card in sight.look()}
    assert cards["nvidia0"].attributes["host_ram_gb"] == cards["cpu0"].attributes["memory_gb"]
    assert cards["nvidia0"].attributes["host_disk_gb"]
    assert sight.computing(cards["nvidia0"]) == (4242,)
    assert sight.computing(cards["cpu0"]) is None
