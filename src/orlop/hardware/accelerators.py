"""Accelerators of other makers, by Ray's managers for them, where Ray is installed.

Ray knows TPUs, Gaudi, Neuron, Ascend, Tenstorrent and others by count and type.  What our own
probes read from the system (NVIDIA, AMD, Intel, CPUs) is left to them.
"""

import logging
from collections.abc import Iterator
from typing import Final

from orlop.abi.devices import DeviceCard, DeviceClass, DeviceName

log = logging.getLogger(__name__)

CLASSES: Final[dict[str, DeviceClass]] = {"GPU": "gpu", "TPU": "tpu"}
"""By the name of Ray's resource; all others are NPUs."""

OURS: Final = frozenset(
    {
        "NvidiaGPUAcceleratorManager",
        "AMDGPUAcceleratorManager",
        "IntelGPUAcceleratorManager",
        "AppleGPUAcceleratorManager",
    }
)
"""What `nvidia` and `probe` read better."""


def look() -> list[DeviceCard]:
    """Empty where Ray is not installed.  Never raises: vendors' tools fail in ways of their own."""
    try:
        from ray._private import accelerators
    except ImportError:
        return []
    cards = list[DeviceCard]()
    managers = accelerators.get_all_accelerator_managers()
    for manager in sorted(managers, key=lambda manager: str(manager.__name__)):
        if manager.__name__ in OURS:
            continue
        try:
            cards += _of(manager)
        except Exception as error:
            log.debug("%s can't say what is here: %s", manager.__name__, error)
    return cards


def _of(manager: object) -> Iterator[DeviceCard]:
    resource = str(_asked(manager, "get_resource_name"))
    count = _asked(manager, "get_current_node_num_accelerators")
    if not isinstance(count, int) or not count:
        return
    model = _asked(manager, "get_current_node_accelerator_type")
    for index in range(count):
        yield DeviceCard(
            name=DeviceName(f"{resource.lower()}{index}"),
            kind=CLASSES.get(resource, "npu"),
            attributes={"model": str(model or resource)},
            source="ray",
        )


def _asked(manager: object, question: str) -> object:
    method: object = getattr(manager, question)
    return method() if callable(method) else None
