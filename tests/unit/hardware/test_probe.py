"""What hardware is here, read from files like those of other machines."""

from pathlib import Path

from orlop.hardware.probe import hardware


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def put_driver(root: Path, device: str, driver: str) -> None:
    drivers = root / "sys/bus/drivers" / driver
    drivers.mkdir(parents=True)
    (root / device / "driver").symlink_to(drivers)


def test_this_machine_has_a_cpu_with_cores_and_memory() -> None:
    cpu = hardware()[0]
    assert cpu.kind == "cpu"
    assert cpu.cores > 0
    assert 0 < cpu.memory_free_bytes <= cpu.memory_bytes
    assert cpu.name


def test_an_x86_cpu_tells_what_engines_compute_with_and_no_more(tmp_path: Path) -> None:
    flags = "fpu vme avx avx2 avx512f avx512_vnni amx_int8 constant_tsc"
    put(tmp_path, "proc/cpuinfo", f"processor\t: 0\nmodel name\t: Xeon\nflags\t\t: {flags}\n")
    cpu = hardware(tmp_path)[0]
    assert cpu.name == "Xeon"
    assert cpu.features == ("amx_int8", "avx", "avx2", "avx512_vnni", "avx512f")


def test_an_arm_cpu_tells_its_features_too(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd evtstrm asimddp i8mm\n")
    assert hardware(tmp_path)[0].features == ("asimd", "asimddp", "i8mm")


def test_an_amd_gpu_is_read_from_the_kernels_files(tmp_path: Path) -> None:
    device = "sys/class/drm/card1/device"
    put(tmp_path, f"{device}/vendor", "0x1002\n")
    put(tmp_path, f"{device}/product_name", "Radeon PRO W7900\n")
    put(tmp_path, f"{device}/mem_info_vram_total", f"{48 * 1024**3}\n")
    put(tmp_path, f"{device}/mem_info_vram_used", f"{1024**3}\n")
    put_driver(tmp_path, device, "amdgpu")
    put(tmp_path, "sys/class/drm/card1-DP-1/device/vendor", "0x1002\n")
    nodes = "sys/class/kfd/kfd/topology/nodes"
    put(tmp_path, f"{nodes}/0/properties", "cpu_cores_count 16\ngfx_target_version 0\n")
    put(tmp_path, f"{nodes}/1/properties", "simd_count 192\ngfx_target_version 90010\n")
    (gpu,) = [card for card in hardware(tmp_path) if card.id.startswith("amd")]
    assert gpu.name == "Radeon PRO W7900"
    assert gpu.memory_free_bytes == 47 * 1024**3
    assert gpu.features == ("gfx90a",)
    assert gpu.driver == "amdgpu"


def test_an_npu_is_named_by_its_driver(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/accel/accel0/device/vendor", "0x8086\n")
    put_driver(tmp_path, "sys/class/accel/accel0/device", "intel_vpu")
    (npu,) = [card for card in hardware(tmp_path) if card.kind == "npu"]
    assert npu.name == "Intel NPU"


def test_files_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "proc/cpuinfo").mkdir(parents=True)
    put(tmp_path, "sys/class/drm/card0/device/vendor", "0x1002\n")
    put(tmp_path, "sys/class/drm/card0/device/mem_info_vram_total", "plenty\n")
    cards = hardware(tmp_path)
    assert cards[0].kind == "cpu"
    assert [card.memory_bytes for card in cards if card.id == "amd-card0"] == [0]
