"""What hardware is here that can compute: what the libraries and the system say, never a guess.

Nothing here raises: hardware that can't be read is left out, as is a library that is not installed.
"""

import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import psutil

from orlop.abi.cards import HardwareCard
from orlop.hardware import nvidia

_FEATURES: Final = frozenset(
    (
        *("sse4_2", "avx", "avx2", "avx_vnni", "f16c", "fma"),
        *("avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
        *("neon", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "sme"),
        *("vsx", "rvv"),
    )
)
"""Of the dozens of flags a CPU has, those that engines compute with."""

_AMD: Final = "0x1002"
_INTEL: Final = "0x8086"


def hardware(root: Path = Path("/")) -> tuple[HardwareCard, ...]:
    """The CPU first.  Takes some milliseconds; loading a GPU's library may take 0.1 s more.

    root: where `proc` and `sys` lie.
    """
    return tuple(card for part in (_cpu, _nvidia, _drm, _npus) for card in _safely(part, root))


def processor(root: Path = Path("/")) -> HardwareCard:
    """The CPU."""
    return next(_cpu(root))


def accelerators(root: Path = Path("/")) -> list[HardwareCard]:
    """What the operating system's own drivers tell of: AMD's and Intel's GPUs, Apple's, NPUs."""
    apple = [card for card in _safely(_cpu, root) if card.kind == "gpu"]
    return [*apple, *_safely(_drm, root), *_safely(_npus, root)]


def _safely(part: Callable[[Path], Iterator[HardwareCard]], root: Path) -> list[HardwareCard]:
    cards = []
    try:
        for card in part(root):
            cards.append(card)
    except Exception:
        # Drivers and vendors' libraries fail in ways of their own; what was found before counts.
        return cards
    return cards


def _cpu(root: Path) -> Iterator[HardwareCard]:
    memory = psutil.virtual_memory()
    name, features = _cpuinfo(_read(root / "proc/cpuinfo"))
    is_apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    yield HardwareCard(
        id="cpu0",
        kind="cpu",
        name=name or platform.processor() or platform.machine(),
        memory_bytes=memory.total,
        memory_free_bytes=memory.available,
        cores=psutil.cpu_count(logical=True) or 1,
        features=features or (("neon",) if is_apple else ()),
        driver=platform.machine(),
        source="/proc/cpuinfo" if features else "platform",
    )
    if is_apple:
        # An Apple chip's GPU shares the RAM; how many cores it has no library tells.
        yield HardwareCard(
            id="apple0",
            kind="gpu",
            name="Apple GPU (unified memory)",
            memory_bytes=memory.total,
            memory_free_bytes=memory.available,
            driver="metal",
            source="platform",
        )


def _cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """The first processor's name and features; x86 calls them `flags`, ARM `Features`."""
    first = text.split("\n\n", 1)[0]
    fields = dict(re.findall(r"^(.*?)\s*:\s*(.*)$", first, re.MULTILINE))
    flags = fields.get("flags") or fields.get("Features") or fields.get("isa") or ""
    known = tuple(sorted(_FEATURES.intersection(flags.split())))
    return fields.get("model name") or fields.get("Hardware") or "", known


def _nvidia(root: Path) -> Iterator[HardwareCard]:
    boards = nvidia.look()
    if not boards:
        yield from _nvidia_without_library(root)
    for board in boards:
        features = board.attributes.get("features")
        total = board.reading.memory_total_bytes or 0
        yield HardwareCard(
            id=board.name,
            kind="gpu",
            name=str(board.attributes.get("model", board.reason or "NVIDIA GPU")),
            memory_bytes=total,
            memory_free_bytes=total - (board.reading.memory_used_bytes or 0),
            features=features if isinstance(features, tuple) else (),
            driver=str(board.attributes.get("driver", "nvidia")),
            source=board.source,
        )


def _nvidia_without_library(root: Path) -> Iterator[HardwareCard]:
    """The kernel module names the boards, but not their memory."""
    for index, board in enumerate(sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))):
        model = re.search(r"^Model:\s*(.+)$", _read(board), re.MULTILINE)
        yield HardwareCard(
            id=f"nvidia{index}",
            kind="gpu",
            name=model.group(1) if model else "NVIDIA GPU",
            driver="nvidia",
            source="/proc/driver/nvidia (libnvidia-ml does not answer)",
        )


def _drm(root: Path) -> Iterator[HardwareCard]:
    """AMD's and Intel's GPUs by the kernel's own drivers (amdgpu, i915, xe)."""
    for card in sorted((root / "sys/class/drm").glob("card[0-9]*")):
        device = card / "device"
        vendor = _read(device / "vendor").strip()
        if "-" in card.name or vendor not in (_AMD, _INTEL):
            continue  # A connector of a card, or a card that another part tells of.
        total = _number(device / "mem_info_vram_total")
        used = _number(device / "mem_info_vram_used")
        driver = (device / "driver").resolve().name
        maker = "AMD" if vendor == _AMD else "Intel"
        yield HardwareCard(
            id=f"{maker.lower()}-{card.name}",
            kind="gpu",
            name=_read(device / "product_name").strip()
            or f"{maker} GPU {_read(device / 'device').strip()}",
            memory_bytes=total,
            memory_free_bytes=max(total - used, 0),
            features=_rocm_targets(root) if vendor == _AMD else (),
            driver=driver,
            source="/sys/class/drm",
        )


def _rocm_targets(root: Path) -> tuple[str, ...]:
    """`gfx…` of each AMD GPU that ROCm may compute on, as the kernel's KFD tells it.

    `gfx_target_version` is major * 10,000 + minor * 100 + stepping, the last in hexadecimal.
    """
    targets = set()
    for node in (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties"):
        found = re.search(r"^gfx_target_version (\d+)$", _read(node), re.MULTILINE)
        version = int(found.group(1)) if found else 0
        if version:
            targets.add(f"gfx{version // 10_000}{version // 100 % 100}{version % 100:x}")
    return tuple(sorted(targets))


def _npus(root: Path) -> Iterator[HardwareCard]:
    """Accelerators behind the kernel's accel subsystem: Intel, AMD, Qualcomm, Habana."""
    for device in sorted((root / "sys/class/accel").glob("accel[0-9]*")):
        driver = (device / "device/driver").resolve().name
        kind: Literal["gpu", "npu"] = "gpu" if driver == "habanalabs" else "npu"
        yield HardwareCard(
            id=device.name,
            kind=kind,
            name=_NAMES.get(driver, f"accelerator ({driver})"),
            driver=driver,
            source="/sys/class/accel",
        )


_NAMES: Final = {
    "intel_vpu": "Intel NPU",
    "amdxdna": "AMD NPU",
    "qaic": "Qualcomm Cloud AI",
    "habanalabs": "Intel Gaudi",
    "rocket": "Rockchip NPU",
}


def _read(path: Path) -> str:
    """Empty where there is nothing, or nothing for us."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0
