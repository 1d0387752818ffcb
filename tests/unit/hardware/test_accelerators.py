"""Accelerators by Ray's managers, through a module that looks like Ray's."""

import sys
from types import ModuleType

import pytest

from orlop.hardware import accelerators


def manager(name: str, resource: str, count: int, model: str | None) -> type:
    def failing() -> int:
        raise RuntimeError("its tool is not installed")

    members = {
        "get_resource_name": staticmethod(lambda: resource),
        "get_current_node_num_accelerators": staticmethod(failing if count < 0 else lambda: count),
        "get_current_node_accelerator_type": staticmethod(lambda: model),
    }
    return type(name, (), members)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    managers = {
        manager("TPUAcceleratorManager", "TPU", 4, "TPU-V5LITEPOD"),
        manager("NeuronAcceleratorManager", "neuron_cores", 2, "aws-neuron-core"),
        manager("HPUAcceleratorManager", "HPU", 0, None),
        manager("NPUAcceleratorManager", "NPU", -1, None),
        manager("NvidiaGPUAcceleratorManager", "GPU", 8, "H100"),
    }
    parent, private = ModuleType("ray"), ModuleType("ray._private")
    module = ModuleType("ray._private.accelerators")
    setattr(module, "get_all_accelerator_managers", lambda: managers)  # noqa: B010
    setattr(private, "accelerators", module)  # noqa: B010
    for loaded in (parent, private, module):
        monkeypatch.setitem(sys.modules, loaded.__name__, loaded)


@pytest.mark.usefixtures("ray")
def test_what_only_ray_knows_becomes_devices() -> None:
    cards = {card.name: (card.kind, card.attributes["model"]) for card in accelerators.look()}
    assert cards == {
        "neuron_cores0": ("npu", "aws-neuron-core"),
        "neuron_cores1": ("npu", "aws-neuron-core"),
        **{f"tpu{index}": ("tpu", "TPU-V5LITEPOD") for index in range(4)},
    }


def test_without_ray_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert accelerators.look() == []
