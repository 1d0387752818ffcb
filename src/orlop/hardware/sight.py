"""One look at all devices of this machine: what they are, and what their sensors say now."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import psutil

from orlop.abi.cards import HardwareCard
from orlop.abi.devices import DeviceCard, DeviceName, Reading, Value
from orlop.hardware import accelerators, nvidia, nvml, probe

GB: Final = 1e9
CPU: Final = DeviceName("cpu0")
"""What embedded engines stand on."""


class Looker(Protocol):
    """Looks at devices.  Blocking."""

    def look(self) -> list[DeviceCard]:
        """Everything that is here now.  Never raises: what can't be read is left out."""
        ...

    def computing(self, card: DeviceCard) -> tuple[int, ...] | None:
        """Numbers of the processes that compute on a device; None: nobody tells."""
        ...


class Sight:
    """Looks again and again.  Blocking: some milliseconds, more where a driver is slow.

    models_dir: the disk that is meant by `host_disk_gb`.  root: where `proc` and `sys` lie.
    """

    def __init__(
        self,
        models_dir: Path,
        root: Path = Path("/"),
        libraries: Sequence[str] = nvml.LIBRARIES,
    ) -> None:
        self._root = root
        self._libraries = libraries
        self._disk_gb = _disk_gb(models_dir)
        self._times: tuple[float, float] | None = None

    def look(self) -> list[DeviceCard]:
        """Everything that is here now.  Never raises: what can't be read is left out."""
        cpus = _safely(self._cpus)
        ram_gb = cpus[0].attributes.get("memory_gb") if cpus else None
        others = [
            *_safely(self._nvidia),
            *_safely(self._by_system),
            *accelerators.look(),
        ]
        for card in others:
            if ram_gb is not None:
                card.attributes["host_ram_gb"] = ram_gb
            if self._disk_gb is not None:
                card.attributes["host_disk_gb"] = self._disk_gb
        return [*cpus, *others]

    def computing(self, card: DeviceCard) -> tuple[int, ...] | None:
        """Numbers of the processes that compute on a GPU; None: nobody tells."""
        uuid = card.attributes.get("uuid")
        if card.source != "nvml" or not isinstance(uuid, str):
            return None
        return nvidia.computing(uuid, self._libraries)

    def _cpus(self) -> Iterator[DeviceCard]:
        hardware = probe.processor(self._root)
        nodes = _nodes(self._root)
        memory = psutil.virtual_memory()
        attributes: dict[str, Value] = {
            "model": hardware.name,
            "memory_gb": round(memory.total / GB, 1),
            "host_ram_gb": round(memory.total / GB, 1),
            "cores": sum(len(node) for node in nodes),
            "numa_nodes": len(nodes),
            "features": hardware.features,
            "driver": hardware.driver,
        }
        if self._disk_gb is not None:
            attributes["host_disk_gb"] = self._disk_gb
        yield DeviceCard(
            name=CPU,
            kind="cpu",
            attributes=attributes,
            reading=Reading(
                utilisation=self._utilisation(),
                memory_used_bytes=memory.total - memory.available,
                memory_total_bytes=memory.total,
                temperature_c=_temperature_c(),
            ),
            cpus=nodes,
            source=hardware.source,
        )

    def _utilisation(self) -> float | None:
        """Since the last look; the first one knows nothing."""
        times = psutil.cpu_times()
        idle = float(times.idle) + float(getattr(times, "iowait", 0.0))
        now, was = (float(sum(times)), idle), self._times
        self._times = now
        if was is None or now[0] <= was[0]:
            return None
        return round(min(1.0, max(0.0, 1 - (now[1] - was[1]) / (now[0] - was[0]))), 3)

    def _nvidia(self) -> Iterator[DeviceCard]:
        yield from nvidia.look(self._libraries)

    def _by_system(self) -> Iterator[DeviceCard]:
        """AMD's and Intel's GPUs, and NPUs, by the operating system's own drivers."""
        for hardware in probe.accelerators(self._root):
            yield _card(hardware)


def _card(hardware: HardwareCard) -> DeviceCard:
    total, free = hardware.memory_bytes, hardware.memory_free_bytes
    attributes: dict[str, Value] = {"model": hardware.name, "driver": hardware.driver}
    if hardware.features:
        attributes["features"] = hardware.features
    if total:
        attributes["memory_gb"] = attributes["hbm_gb"] = round(total / GB, 1)
    return DeviceCard(
        name=DeviceName(hardware.id),
        kind=hardware.kind,
        attributes={key: value for key, value in attributes.items() if value != ""},
        reading=Reading(
            memory_used_bytes=total - free if total else None, memory_total_bytes=total or None
        ),
        source=hardware.source,
    )


def _safely(part: Callable[[], Iterator[DeviceCard]]) -> list[DeviceCard]:
    cards = list[DeviceCard]()
    try:
        for card in part():
            cards.append(card)
    except Exception:
        # Drivers and sensors fail in ways of their own; what was read before counts.
        return cards
    return cards


def _nodes(root: Path) -> tuple[tuple[int, ...], ...]:
    """The logical processors that we may use, by node of the memory."""
    allowed = _allowed()
    lists = sorted((root / "sys/devices/system/node").glob("node[0-9]*/cpulist"))
    nodes = [tuple(cpu for cpu in _numbers(path.read_text()) if cpu in allowed) for path in lists]
    return tuple(node for node in nodes if node) or (tuple(sorted(allowed)),)


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(psutil.cpu_count(logical=True) or 1))


def _numbers(text: str) -> list[int]:
    """`0-3,8` as the system writes lists."""
    numbers = list[int]()
    for item in filter(None, text.strip().split(",")):
        first, _, last = item.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _temperature_c() -> float | None:
    """The hottest of the processor's own sensors, where the system has any."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    sensors = psutil.sensors_temperatures()
    known = [sensors[name] for name in ("coretemp", "k10temp", "cpu_thermal") if name in sensors]
    return max((float(entry.current) for entries in known for entry in entries), default=None)


def _disk_gb(folder: Path) -> float | None:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return round(shutil.disk_usage(folder).free / GB, 1)
    except OSError:
        return None
