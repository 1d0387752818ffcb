"""NVIDIA's management library (`libnvidia-ml`), the few functions that we need, by ctypes.

It comes with the driver, so nothing has to be installed.  Structures and numbers as in NVIDIA's
`nvml.h` (version 13); a function that this driver's library lacks, or a question that this board
does not answer, is None and no error.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char, c_int, c_uint, c_ulonglong, c_void_p
from typing import Final

LIBRARIES: Final = ("libnvidia-ml.so.1", "libnvidia-ml.so", "nvml.dll")

SUCCESS: Final = 0
UNANSWERED: Final[frozenset[int]] = frozenset({0, 3, 13})
"""Answered, not supported, or a function that this library lacks."""
GONE: Final[frozenset[int]] = frozenset({15, 16, 28})
"""Lost, needs a reset, not found: the board itself does not answer."""

CLOCK_SM: Final = 1
CLOCK_MEMORY: Final = 2
LINKS_MAX: Final = 18
_TEXT_CHARS: Final = 96
_PROCESSES_MAX: Final = 4_096


class NvmlError(Exception):
    """A board does not answer."""

    def __init__(self, what: str, status: int, says: str) -> None:
        super().__init__(f"{what}: {says} (NVML {status})")


class Memory(ctypes.Structure):
    """`nvmlMemory_t`, in bytes."""

    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


class Rates(ctypes.Structure):
    """`nvmlUtilization_t`, in percent."""

    _fields_ = (("gpu", c_uint), ("memory", c_uint))


class Slice(ctypes.Structure):
    """`nvmlDeviceAttributes_t`: what a MIG slice has of its whole."""

    _fields_ = (
        ("multiprocessors", c_uint),
        ("copy_engines", c_uint),
        ("decoders", c_uint),
        ("encoders", c_uint),
        ("jpeg", c_uint),
        ("ofa", c_uint),
        ("gpu_slices", c_uint),
        ("compute_slices", c_uint),
        ("memory_mib", c_ulonglong),
    )


class Process(ctypes.Structure):
    """`nvmlProcessInfo_t`, version 2 and 3."""

    _fields_ = (
        ("pid", c_uint),
        ("memory_used", c_ulonglong),
        ("gpu_instance", c_uint),
        ("compute_instance", c_uint),
    )


class Nvml:
    """The library, initialised.  Raises `OSError` where there is none, `NvmlError` if it fails."""

    def __init__(self, libraries: Sequence[str] = LIBRARIES) -> None:
        self._library = _load(libraries)
        self._library.nvmlErrorString.restype = ctypes.c_char_p
        status = self.status("nvmlInit_v2")
        if status != SUCCESS:
            raise NvmlError("NVML does not start", status, self.says(status))

    def close(self) -> None:
        self.status("nvmlShutdown")

    def says(self, status: int) -> str:
        told = self._library.nvmlErrorString(c_int(status))
        return told.decode(errors="replace") if isinstance(told, bytes) else "an unknown error"

    def driver(self) -> str:
        return self.text("nvmlSystemGetDriverVersion") or ""

    def count(self) -> int:
        return self.number("nvmlDeviceGetCount_v2") or 0

    def board(self, index: int) -> "Board":
        handle = c_void_p()
        status = self.status("nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(handle))
        if status != SUCCESS:
            raise NvmlError(f"GPU {index}", status, self.says(status))
        return Board(self, handle)

    # Below: for `Board`.  Each gives None for what is not supported.

    def status(self, function: str, *arguments: object) -> int:
        try:
            call = getattr(self._library, function)
        except AttributeError:
            return 13  # NVML_ERROR_FUNCTION_NOT_FOUND
        return int(call(*arguments))

    def asked(self, function: str, *arguments: object, is_vital: bool = False) -> bool:
        """Whether it answered.  Raises `NvmlError` where the board is gone.

        is_vital: any board that works answers this, so that any failure means that it does not.
        """
        status = self.status(function, *arguments)
        if status in GONE or (is_vital and status not in UNANSWERED):
            raise NvmlError(function, status, self.says(status))
        return status == SUCCESS

    def number(self, function: str, *arguments: object) -> int | None:
        value = c_uint()
        return value.value if self.asked(function, *arguments, byref(value)) else None

    def text(self, function: str, *arguments: object) -> str | None:
        text = (c_char * _TEXT_CHARS)()
        if not self.asked(function, *arguments, text, c_uint(_TEXT_CHARS)):
            return None
        return text.value.decode(errors="replace")


class Board:
    """One GPU, or one MIG slice of it.  Methods raise `NvmlError` once it is lost."""

    def __init__(self, nvml: Nvml, handle: c_void_p) -> None:
        self._nvml = nvml
        self._handle = handle

    def text(self, function: str) -> str:
        return self._nvml.text(function, self._handle) or ""

    def number(self, function: str, *arguments: object) -> int | None:
        return self._nvml.number(function, self._handle, *arguments)

    def long(self, function: str, *arguments: object) -> int | None:
        value = c_ulonglong()
        asked = self._nvml.asked(function, self._handle, *arguments, byref(value))
        return value.value if asked else None

    def memory(self) -> Memory | None:
        """None on boards that share the host's memory."""
        memory = Memory()
        asked = self._nvml.asked(
            "nvmlDeviceGetMemoryInfo", self._handle, byref(memory), is_vital=True
        )
        return memory if asked else None

    def rates(self) -> Rates | None:
        rates = Rates()
        asked = self._nvml.asked("nvmlDeviceGetUtilizationRates", self._handle, byref(rates))
        return rates if asked else None

    def capability(self) -> tuple[int, int] | None:
        major, minor = c_int(), c_int()
        asked = self._nvml.asked(
            "nvmlDeviceGetCudaComputeCapability", self._handle, byref(major), byref(minor)
        )
        return (major.value, minor.value) if asked else None

    def remapped(self) -> tuple[bool, bool] | None:
        """Whether rows wait for a reset to be remapped, and whether remapping has failed."""
        corrected, uncorrected, pending, failed = c_uint(), c_uint(), c_uint(), c_uint()
        asked = self._nvml.asked(
            "nvmlDeviceGetRemappedRows",
            self._handle,
            *(byref(corrected), byref(uncorrected), byref(pending), byref(failed)),
        )
        return (bool(pending.value), bool(failed.value)) if asked else None

    def is_divided(self) -> bool:
        """MIG is on."""
        now, pending = c_uint(), c_uint()
        asked = self._nvml.asked("nvmlDeviceGetMigMode", self._handle, byref(now), byref(pending))
        return asked and now.value == 1

    def slices(self) -> list["Board"]:
        found = []
        for index in range(self.number("nvmlDeviceGetMaxMigDeviceCount") or 0):
            handle = c_void_p()
            # A place without a slice is "not found", and no sign of a lost board.
            status = self._nvml.status(
                "nvmlDeviceGetMigDeviceHandleByIndex", self._handle, c_uint(index), byref(handle)
            )
            if status == SUCCESS:
                found.append(Board(self._nvml, handle))
        return found

    def slice(self) -> Slice | None:
        slice_ = Slice()
        asked = self._nvml.asked("nvmlDeviceGetAttributes_v2", self._handle, byref(slice_))
        return slice_ if asked else None

    def links(self) -> int:
        """NVLinks that are up."""
        return sum(
            self.number("nvmlDeviceGetNvLinkState", c_uint(link)) == 1 for link in range(LINKS_MAX)
        )

    def processes(self) -> tuple[int, ...] | None:
        """Of the operating system, that compute on it; None where NVML does not tell."""
        count = c_uint(_PROCESSES_MAX)
        rows = (Process * _PROCESSES_MAX)()
        asked = self._nvml.asked(
            "nvmlDeviceGetComputeRunningProcesses_v3", self._handle, byref(count), rows
        )
        return tuple(int(rows[index].pid) for index in range(count.value)) if asked else None


def _load(libraries: Sequence[str]) -> ctypes.CDLL:
    for name in libraries:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError("there is no libnvidia-ml here")


__all__ = ["CLOCK_MEMORY", "CLOCK_SM", "Board", "Nvml", "NvmlError"]
