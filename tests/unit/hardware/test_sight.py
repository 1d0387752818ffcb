"""One look at this machine, and at files like those of other machines."""

import os
from pathlib import Path

import psutil
import pytest

from orlop.hardware.sight import Sight


def test_this_machines_cpu_has_cores_memory_and_what_engines_compute_with(tmp_path: Path) -> None:
    (cpu,) = [card for card in Sight(tmp_path).look() if card.kind == "cpu"]
    cores = [core for node in cpu.cpus for core in node]
    assert cpu.name == "cpu0"
    assert set(cores) <= set(range(psutil.cpu_count()))
    assert cpu.attributes["cores"] == len(cores) > 0
    assert cpu.attributes["memory_gb"] == round(psutil.virtual_memory().total / 1e9, 1)
    assert 0 < (cpu.reading.memory_used_bytes or 0) < (cpu.reading.memory_total_bytes or 0)
    assert "bandwidth_gb_s" not in cpu.attributes
    assert "hbm_gb" not in cpu.attributes


def test_how_busy_it_is_is_known_from_the_second_look_on(tmp_path: Path) -> None:
    sight = Sight(tmp_path)
    assert sight.look()[0].reading.utilisation is None
    before = psutil.cpu_times()
    while sum(psutil.cpu_times()) - sum(before) < 0.1:
        pass
    busy = sight.look()[0].reading.utilisation
    assert busy is not None
    assert 0 < busy <= 1


def test_cores_come_by_node_of_the_memory_and_only_those_that_we_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node, cpus in enumerate(("0-3,8", "4-7,9")):
        folder = tmp_path / f"sys/devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpus}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 8, 9}, raising=False)
    cpu = Sight(tmp_path, root=tmp_path).look()[0]
    assert cpu.cpus == ((2, 3, 8), (9,))
    assert cpu.attributes["cores"] == 4
    assert cpu.attributes["numa_nodes"] == 2


def test_an_amd_gpu_and_an_npu_are_devices_too(tmp_path: Path) -> None:
    device = tmp_path / "sys/class/drm/card1/device"
    device.mkdir(parents=True)
    for name, text in {
        "vendor": "0x1002",
        "product_name": "Instinct MI300X",
        "mem_info_vram_total": str(192 * 10**9),
        "mem_info_vram_used": str(10**9),
    }.items():
        (device / name).write_text(text + "\n")
    (tmp_path / "sys/class/accel/accel0/device").mkdir(parents=True)
    cards = {str(card.name): card for card in Sight(tmp_path, root=tmp_path).look()}
    gpu = cards["amd-card1"]
    assert (gpu.kind, gpu.attributes["hbm_gb"]) == ("gpu", 192.0)
    assert gpu.reading.memory_used_bytes == 10**9
    assert gpu.attributes["host_ram_gb"]
    assert cards["accel0"].kind == "npu"


def test_a_disk_that_is_not_there_yet_is_its_parents(tmp_path: Path) -> None:
    cards = Sight(tmp_path / "models" / "not yet").look()
    assert isinstance(cards[0].attributes["host_disk_gb"], float)
