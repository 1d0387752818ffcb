"""A kernel with two GPUs (of a library of ours): lost, back, hot, claimed, drained."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nvml_library
import pytest
from exact_client import ask
from live_kernel import ORLOP, LiveKernel, live_kernel

from orlop.abi.errors import DeviceFailed, NoSuchDevice
from orlop.abi.hints import Hints
from orlop.sdk.sync import connect_sync

CONFIG = """
[kernel]
device_look_s = 0.2

[engines.first]
driver = "fake"
device = "nvidia0"
fake = { models = ["twin"], embed_models = [] }

[engines.second]
driver = "fake"
device = "nvidia1"
fake = { models = ["twin"], embed_models = [] }

[devices.nvidia0]
region = "eu"
"""
PATIENT_S = 20.0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the boards say, for as long as the kernel runs."""
    return tmp_path_factory.mktemp("boards") / "state"


@pytest.fixture(scope="module")
def kernel(state: Path) -> Iterator[LiveKernel]:
    library = nvml_library.build(state.parent)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LD_LIBRARY_PATH", str(library.parent))
        environment.setenv("NVML_STATE", str(state))
        with live_kernel(CONFIG) as running:
            until(lambda: "nvidia1" in devices(running))
            yield running


def devices(kernel: LiveKernel) -> dict[str, dict[str, object]]:
    shown = json.loads(kernel.orlop("devices", "--json"))["devices"]
    return {device["name"]: device for device in shown}


def until(is_so: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENT_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def served_on(kernel: LiveKernel, **hints: object) -> str:
    with connect_sync(kernel.url, token=kernel.key) as client:
        hinted = Hints(**hints)  # type: ignore[arg-type]
        return client.infer("hello", model="twin", hints=hinted).facts.device


def journaled(kernel: LiveKernel, device: str) -> list[str]:
    """What became of a device, in order."""
    lines = [json.loads(line) for line in kernel.orlop("journal", "export").splitlines()]
    events = [line["event"] for line in lines]
    return [
        event["health"]
        for event in events
        if event["kind"] == "device.changed" and event["device"] == device
    ]


def test_a_call_is_served_where_it_asks_to_be_and_told_where_it_can_not(
    kernel: LiveKernel,
) -> None:
    for _ in range(3):
        assert served_on(kernel, device="hbm_gb > 100") == "nvidia0"
        assert served_on(kernel, device='device.class == "gpu" && hbm_gb < 100') == "nvidia1"
        assert served_on(kernel, region="eu") == "nvidia0"
    with pytest.raises(NoSuchDevice, match="first on nvidia0: `hbm_gb > 1000` fails"):
        served_on(kernel, device="hbm_gb > 1000")


def test_a_lost_board_is_journaled_and_its_work_goes_elsewhere_until_it_is_back(
    kernel: LiveKernel, state: Path
) -> None:
    state.write_text("LOST=0\n")
    until(lambda: devices(kernel)["nvidia0"]["health"] == "lost")
    assert {served_on(kernel) for _ in range(6)} == {"nvidia1"}
    with pytest.raises(DeviceFailed, match="nvidia0 is lost"):
        served_on(kernel, region="eu")
    state.write_text("")
    until(lambda: devices(kernel)["nvidia0"]["health"] == "ready")
    assert served_on(kernel, region="eu") == "nvidia0"
    assert journaled(kernel, "nvidia0")[-3:] == ["ready", "lost", "ready"]


def test_a_hot_board_is_given_less(kernel: LiveKernel, state: Path) -> None:
    state.write_text("HOT=0\n")
    until(lambda: devices(kernel)["nvidia0"]["health"] == "degraded")
    hot = devices(kernel)["nvidia0"]
    assert hot["share"] == 0.25
    assert "heat" in str(hot["reason"])
    metrics = ask(kernel, "/metrics").body
    assert b'orlop_device_share{device="nvidia0"} 0.25' in metrics
    state.write_text("")
    until(lambda: devices(kernel)["nvidia0"]["health"] == "ready")


def test_a_process_holds_a_slice_until_it_has_ended(kernel: LiveKernel) -> None:
    kernel.orlop("run", "-d", "--", "sleep", "60")
    pid = json.loads(kernel.orlop("ps", "--json"))[-1]["pid"]
    granted = kernel.orlop("devices", "claim", str(pid), 'parent == "nvidia1"', "--alone")
    slice_ = granted.split()[1]
    assert slice_.startswith("nvidia1.mig")
    assert devices(kernel)[slice_]["share_claimed"] == 1.0
    kernel.orlop("kill", str(pid))
    until(lambda: devices(kernel)[slice_]["share_claimed"] == 0)
    # The library says that process 4242 computes there: it is nobody's until that has ended.
    assert devices(kernel)[slice_]["erasing"] is True


def test_a_drained_board_gets_no_calls_until_it_is_given_back(kernel: LiveKernel) -> None:
    kernel.orlop("devices", "drain", "nvidia0", "--reason", "its fan is changed")
    assert {served_on(kernel) for _ in range(4)} == {"nvidia1"}
    kernel.orlop("devices", "restore", "nvidia0")
    assert "nvidia0" in {served_on(kernel, region="eu")}


TUNING = """
import sys, time
import orlop

with orlop.connect_sync() as kernel:
    def save(notice):
        print("told:", notice.why, notice.within_s, flush=True)
        time.sleep(0.2)
        print("saved", flush=True)

    with kernel.claim('name == "nvidia0"', save=save, share=0.5, purpose="tuning") as claim:
        print("holds", claim.device, flush=True)
        claim.left.wait(60)
        print("goes on without it", flush=True)
"""


def shown(kernel: LiveKernel, pid: str) -> str:
    return kernel.orlop("logs", pid)


def newest(kernel: LiveKernel) -> str:
    return str(json.loads(kernel.orlop("ps", "--all", "--json"))[-1]["pid"])


def claims_on(kernel: LiveKernel, device: str) -> list[dict[str, object]]:
    found = devices(kernel)[device]["claims"]
    assert isinstance(found, list)
    return found


def test_a_program_claims_a_device_by_itself_saves_when_told_and_lives_on(
    kernel: LiveKernel,
) -> None:
    kernel.orlop("run", "-d", "--", sys.executable, "-c", TUNING)
    pid = newest(kernel)
    until(lambda: "holds nvidia0" in shown(kernel, pid))
    (claim,) = claims_on(kernel, "nvidia0")
    assert (claim["share"], claim["purpose"]) == (0.5, "tuning")
    kernel.orlop("devices", "drain", "nvidia0", "--within", "20", "--reason", "the owner wants it")
    until(lambda: "goes on without it" in shown(kernel, pid))
    said = shown(kernel, pid)
    assert "told: nvidia0 is drained: the owner wants it 20" in said and "saved" in said
    assert claims_on(kernel, "nvidia0") == []
    kernel.orlop("devices", "restore", "nvidia0")


def test_a_claim_ends_with_its_program_however_that_ends(kernel: LiveKernel) -> None:
    kernel.orlop("run", "-d", "--", sys.executable, "-c", TUNING)
    pid = newest(kernel)
    until(lambda: "holds nvidia0" in shown(kernel, pid))
    kernel.orlop("kill", pid)
    until(lambda: claims_on(kernel, "nvidia0") == [])


def test_a_command_holds_a_device_while_it_runs_and_is_told_by_sigterm(kernel: LiveKernel) -> None:
    inner = "trap 'echo saving; exit 3' TERM; echo on $ORLOP_DEVICE; sleep 60 & wait"
    command = [*ORLOP, "devices", "hold", 'name == "nvidia0"', "--", "sh", "-c", inner]
    kernel.orlop("run", "-d", "--", *command)
    pid = newest(kernel)
    until(lambda: "on nvidia0" in shown(kernel, pid))
    kernel.orlop("devices", "drain", "nvidia0", "--within", "20", "--reason", "spot")
    until(lambda: "saving" in shown(kernel, pid))
    until(lambda: claims_on(kernel, "nvidia0") == [])
    kernel.orlop("devices", "restore", "nvidia0")


ASKING = """
import orlop

with orlop.connect_sync() as kernel:
    try:
        with kernel.claim(share=0.1) as claim:
            print("holds", claim.device, flush=True)
    except orlop.KernelError as error:
        print(type(error).__name__, error, flush=True)
"""


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ("device:nvidia0", "holds nvidia0"),
        ("device:cpu*", "holds cpu0"),
        ("device:none", "Denied"),
        ("model:*", "has no right to device:"),
    ],
)
def test_a_program_gets_a_device_that_it_has_a_right_to_and_no_other(
    kernel: LiveKernel, right: str, told: str
) -> None:
    kernel.orlop("run", "-d", "--allow", right, "--", sys.executable, "-c", ASKING)
    pid = newest(kernel)
    until(lambda: told in shown(kernel, pid))
