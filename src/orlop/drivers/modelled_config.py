"""The hardware that an engine model stands for, as orlop.toml and fleet.toml say it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orlop.abi.errors import Misconfigured
from orlop.devices.calibration import speed_of
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear, Speed
from orlop.machine.ranges import Chances, Limit, Many, Seconds

GB: Final = 1e9
MEMORY_BYTES_S: Final = 3e12
"""Of an accelerator's memory: what reading a context costs where nobody has measured it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelledConfig:
    """A device and the model on it."""

    calibration: str = ""
    """A file of step times: `orlop calibrate` writes one."""
    entry: str = ""
    """The name in that file; empty: its only one."""
    decode_ms: Seconds = 0.0
    """Without a calibration: of one token."""
    prefill_tokens_s: Seconds = 0.0
    """Without a calibration: prompt tokens computed in a second."""
    memory_gb: Seconds = 0.0
    """Of the device (of all of them, where the model is spread over several), 10^9 bytes."""
    model_gb: Seconds = 0.0
    """What the weights take of it."""
    utilisation: Chances = 0.92
    """Share of the memory that the engine uses."""
    kv_bytes_per_token: Many = 131_072
    """Of context, as the model's architecture has it."""
    host_gb: Seconds = 0.0
    """Host RAM that keeps contexts beside the device; 0: none."""
    restore_gb_s: Limit = 25.0
    """From there to the device."""
    slots: Many = 256
    """Calls served at once."""
    continues: bool = True
    """Goes on with an answer that was cut, so that calls may be preempted."""
    window_tokens: Many = 131_072
    """The longest context that the model takes."""


def capacity(spec: ModelledConfig, where: str, folder: Path, model: str) -> Capacity:
    """where: the table, for errors.  folder: what the calibration's path begins at.  Raises
    `Misconfigured`."""
    for name, value in (("memory_gb", spec.memory_gb), ("model_gb", spec.model_gb)):
        if value <= 0:
            raise Misconfigured(f"{where}: {name} is needed: the model's weights and its device")
    room = spec.memory_gb * GB * spec.utilisation - spec.model_gb * GB
    kv_tokens = int(room / spec.kv_bytes_per_token)
    if kv_tokens <= 0:
        raise Misconfigured(
            f"{where}: {model or 'its model'} takes {spec.model_gb:g} GB, and the engine has"
            f" {spec.memory_gb * spec.utilisation:.1f} GB ({spec.utilisation:.0%} of"
            f" {spec.memory_gb:g}): use a larger device, more of them, or a smaller artefact"
        )
    return Capacity(
        slots=spec.slots,
        kv_tokens=kv_tokens,
        host_tokens=int(spec.host_gb * GB / spec.kv_bytes_per_token),
        kv_bytes_per_token=spec.kv_bytes_per_token,
        restore_bytes_s=spec.restore_gb_s * GB,
        speed=_speed(spec, where, folder),
        continues=spec.continues,
    )


def _speed(spec: ModelledConfig, where: str, folder: Path) -> Speed:
    if spec.calibration:
        return speed_of(folder / Path(spec.calibration).expanduser(), spec.entry)
    if spec.decode_ms <= 0 or spec.prefill_tokens_s <= 0:
        raise Misconfigured(f"{where}: needs a calibration, or decode_ms and prefill_tokens_s")
    return Linear(
        decode_a_s=spec.decode_ms / 1e3,
        decode_c_s=spec.kv_bytes_per_token / MEMORY_BYTES_S,
        prefill_b_s=1 / spec.prefill_tokens_s,
    )
