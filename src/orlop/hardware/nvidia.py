"""NVIDIA's GPUs, and the slices that they are cut into, as NVML tells of them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from ctypes import c_int, c_uint
from typing import Final

from orlop.abi.devices import DeviceCard, DeviceName, Reading, Value
from orlop.hardware.nvml import CLOCK_MEMORY, CLOCK_SM, LIBRARIES, Board, Nvml, NvmlError

GB: Final = 1e9
MIB: Final = 1 << 20
NOT_AVAILABLE: Final = 0xFFFF_FFFF

THROTTLES: Final = {0x08: "hardware", 0x20: "heat", 0x40: "heat", 0x80: "power_brake"}
"""Of NVML's reasons for a lower clock, those that are faults.  A power cap (0x04) is how boards
run under full load, and idling (0x01) is none."""


def look(libraries: Sequence[str] = LIBRARIES) -> list[DeviceCard]:
    """Every GPU that answers; a board that does not comes as `lost`, with NVML's own words.

    Empty where there is no library.  Takes some milliseconds; the first time, loading it, 0.1 s.
    """
    try:
        nvml = Nvml(libraries)
    except (OSError, NvmlError):
        return []
    try:
        driver = nvml.driver()
        return [card for index in range(nvml.count()) for card in _board(nvml, index, driver)]
    finally:
        nvml.close()


def computing(uuid: str, libraries: Sequence[str] = LIBRARIES) -> tuple[int, ...] | None:
    """Numbers of the processes that compute on a board, or a slice; None: not known."""
    try:
        nvml = Nvml(libraries)
    except (OSError, NvmlError):
        return None
    try:
        for index in range(nvml.count()):
            with suppress(NvmlError):
                board = nvml.board(index)
                for part in (board, *board.slices()):
                    if part.text("nvmlDeviceGetUUID") == uuid:
                        return part.processes()
        return None
    finally:
        nvml.close()


def _board(nvml: Nvml, index: int, driver: str) -> Iterator[DeviceCard]:
    name = DeviceName(f"nvidia{index}")
    try:
        board = nvml.board(index)
        whole = _whole(board, name, driver)
        divided = board.is_divided()
        slices = list(_slices(board, whole)) if divided else []
    except NvmlError as error:
        yield DeviceCard(name=name, kind="gpu", health="lost", reason=str(error), source="nvml")
        return
    if divided:
        whole.attributes["divided"] = True
    yield whole
    yield from slices


def _whole(board: Board, name: DeviceName, driver: str) -> DeviceCard:
    memory, capability = board.memory(), board.capability()
    attributes: dict[str, Value] = {
        "vendor": "nvidia",
        "model": board.text("nvmlDeviceGetName"),
        "uuid": board.text("nvmlDeviceGetUUID"),
        "driver": driver,
        "firmware": board.text("nvmlDeviceGetVbiosVersion"),
        "numa_node": _known(board.number("nvmlDeviceGetNumaNodeId")),
        "pcie_generation": _known(board.number("nvmlDeviceGetMaxPcieLinkGeneration")),
        "pcie_width": _known(board.number("nvmlDeviceGetMaxPcieLinkWidth")),
        "bandwidth_gb_s": _bandwidth_gb_s(board),
    }
    if memory is not None and memory.total:
        attributes["memory_gb"] = attributes["hbm_gb"] = round(memory.total / GB, 1)
    if capability is not None:
        attributes["features"] = (f"sm_{capability[0]}{capability[1]}",)
    links = board.links()
    attributes["interconnect"] = "nvlink" if links else "pcie"
    attributes["links"] = links or ""
    return DeviceCard(
        name=name,
        kind="gpu",
        attributes={key: value for key, value in attributes.items() if value != ""},
        reading=_reading(board),
        source="nvml",
    )


def _slices(board: Board, whole: DeviceCard) -> Iterator[DeviceCard]:
    """MIG slices: devices of their own, which the hardware itself keeps apart."""
    for number, part in enumerate(board.slices()):
        slice_ = part.slice()
        memory = part.memory()
        attributes = dict(whole.attributes)
        # Of the whole: a slice has a part of it that NVML does not tell.
        for name in ("bandwidth_gb_s", "links", "memory_gb", "hbm_gb"):
            attributes.pop(name, None)
        attributes["parent"] = whole.name
        attributes["interconnect"] = "pcie"
        if uuid := part.text("nvmlDeviceGetUUID"):
            attributes["uuid"] = uuid
        if slice_ is not None:
            attributes["memory_gb"] = round(slice_.memory_mib * MIB / GB, 1)
            attributes["hbm_gb"] = attributes["memory_gb"]
            attributes["slices"] = slice_.gpu_slices
        yield DeviceCard(
            name=DeviceName(f"{whole.name}.mig{number}"),
            kind="gpu",
            attributes=attributes,
            reading=Reading(
                memory_used_bytes=None if memory is None else memory.used,
                memory_total_bytes=None if memory is None else memory.total,
                temperature_c=whole.reading.temperature_c,
                clock_share=whole.reading.clock_share,
                throttled=whole.reading.throttled,
                memory_errors=whole.reading.memory_errors,
                memory_broken=whole.reading.memory_broken,
            ),
            source="nvml",
        )


def _reading(board: Board) -> Reading:
    memory, rates = board.memory(), board.rates()
    power, limit = (
        board.number("nvmlDeviceGetPowerUsage"),
        board.number("nvmlDeviceGetEnforcedPowerLimit"),
    )
    temperature = board.number("nvmlDeviceGetTemperature", c_uint(0))
    return Reading(
        utilisation=None if rates is None else rates.gpu / 100,
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
        temperature_c=None if temperature is None else float(temperature),
        power_w=None if power is None else power / 1000,
        power_limit_w=None if limit is None else limit / 1000,
        clock_share=_clock_share(board),
        throttled=_throttled(board),
        memory_errors=board.long("nvmlDeviceGetTotalEccErrors", c_int(1), c_int(0)),
        memory_errors_corrected=board.long("nvmlDeviceGetTotalEccErrors", c_int(0), c_int(0)),
        memory_broken=_broken(board),
    )


def _throttled(board: Board) -> tuple[str, ...]:
    reasons = board.long("nvmlDeviceGetCurrentClocksEventReasons")
    if reasons is None:  # Drivers before 535 call it otherwise.
        reasons = board.long("nvmlDeviceGetCurrentClocksThrottleReasons")
    return tuple(dict.fromkeys(why for bit, why in THROTTLES.items() if (reasons or 0) & bit))


def _clock_share(board: Board) -> float | None:
    now = board.number("nvmlDeviceGetClockInfo", c_int(CLOCK_SM))
    most = board.number("nvmlDeviceGetMaxClockInfo", c_int(CLOCK_SM))
    return round(min(1.0, now / most), 3) if now is not None and most else None


def _broken(board: Board) -> str:
    remapped = board.remapped()
    if remapped is None:
        return ""
    pending, failed = remapped
    if failed:
        return "memory rows could not be remapped: the board should be replaced"
    return "memory rows wait to be remapped: the board needs a reset" if pending else ""


def _bandwidth_gb_s(board: Board) -> float | str:
    """By clock and width of the memory's bus, two transfers a clock; empty: not told."""
    megahertz = board.number("nvmlDeviceGetMaxClockInfo", c_int(CLOCK_MEMORY))
    bits = board.number("nvmlDeviceGetMemoryBusWidth")
    return round(2 * megahertz * 1e6 * bits / 8 / GB, 1) if megahertz and bits else ""


def _known(value: int | None) -> int | str:
    """Empty where NVML does not tell."""
    return "" if value is None or value == NOT_AVAILABLE else value
