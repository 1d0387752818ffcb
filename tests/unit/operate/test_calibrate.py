"""Calibration finds the law of an engine whose law is known."""

import json
from pathlib import Path

import pytest
from simulation.power import LoopClock
from simulation_loop import simulate

from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import EngineName, ModelName
from orlop.devices.calibration import Calibration
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.drivers.modelled import ModelledEngine
from orlop.machine.chance import SeededChance
from orlop.operate.calibrate import WINDOW_MIN, Calibrator
from orlop.shell.commands import run

TRUE = Linear(
    decode_a_s=0.02,
    decode_b_s=0.001,
    decode_c_s=1e-7,
    prefill_a_s=0.02,
    prefill_b_s=2e-4,
    prefill_c_s=2e-8,
)


async def measured(window_tokens: int) -> tuple[Calibration, list[tuple[int, int]]]:
    capacity = Capacity(slots=8, kv_tokens=200_000, speed=TRUE)
    engine = ModelledEngine(EngineName("m"), capacity, clock=LoopClock())
    await engine.start()
    told: list[tuple[int, int]] = []
    try:
        calibrator = Calibrator(
            engine,
            ModelName("modelled"),
            clock=LoopClock(),
            chance=SeededChance(7),
            window_tokens=window_tokens,
            rounds=2,
        )
        found = await calibrator.measure(lambda what, done, all_: told.append((done, all_)))
        return found, told
    finally:
        await engine.close()


def test_the_law_of_a_known_engine_is_found_from_outside() -> None:
    found, told = simulate(1, measured(12_000))
    speed = found.speed()
    assert isinstance(speed, Linear)
    assert told[-1][0] == told[-1][1]
    for new, prefix in ((500, 0), (2_000, 2_000), (4_000, 0)):
        assert speed.prefill_s(new, prefix) == pytest.approx(TRUE.prefill_s(new, prefix), rel=0.15)
    for batch, context in ((1, 500), (4, 8_000), (8, 8_000)):
        assert speed.decode_s(batch, context) == pytest.approx(
            TRUE.decode_s(batch, context), rel=0.15
        )


def test_a_window_too_small_to_measure_is_said() -> None:
    with pytest.raises(DeviceFailed, match=f"too small to measure; {WINDOW_MIN} at least"):
        simulate(1, measured(WINDOW_MIN - 1))
    simulate(1, measured(WINDOW_MIN))


def test_an_engine_that_nobody_knows_is_said_with_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orlop.toml").write_text('[engines.vllm]\nurl = "http://127.0.0.1:9"\n')
    out = tmp_path / "c.json"
    flags = ["--home", str(tmp_path), "--output", str(out)]
    assert run(["calibrate", "vlm", *flags]) != 0
    assert "orlop.toml has vllm" in capsys.readouterr().err
    assert run(["calibrate", "http://127.0.0.1:9", *flags]) != 0
    assert "Traceback" not in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_is_no_calibration_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.json"
    out.write_text(json.dumps({"my": "notes"}))
    assert run(["calibrate", "http://127.0.0.1:9", "--output", str(out)]) != 0
    assert "is no calibration file" in capsys.readouterr().err
    assert json.loads(out.read_text()) == {"my": "notes"}
