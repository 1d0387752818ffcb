"""The fleets of bench A, from the calibration tables.

KV capacity is what is left of 92 % of the memory after the weights, at bf16 (Qwen3-32B on one H200:
233 k tokens).  Restoring from host RAM runs at 25 GB/s, as measured over PCIe 5.
"""

from pathlib import Path
from typing import Final

from orlop.devices.calibration import speed_of
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.operate.plan.replay import Host

GB: Final = 1e9
SLOTS: Final = 256
"""vLLM's `--max-num-seqs`."""
HOST_TOKENS: Final = 1_000_000
"""262 GB of host RAM for Qwen3-32B, of the 1-2 TB that such a machine has."""
RESTORE_BYTES_S: Final = 25e9
KV_BYTES_32B: Final = 262_144
KV_BYTES_8B: Final = 147_456

CPU: Final = Linear(
    decode_a_s=0.030, decode_b_s=0.004, decode_c_s=2e-6, prefill_a_s=0.02, prefill_b_s=0.0035
)
"""A 0.6B model at 4 bits on 16 server cores: about 30 tokens/s alone, 280 tokens/s of prompt."""


def calibration(data: Path) -> Path:
    return data / "calibration" / "aic_vllm_calibration.json"


def h200(data: Path, host_tokens: int = 0, name: str = "h200") -> Host:
    return Host(
        name=name,
        capacity=Capacity(
            slots=SLOTS,
            kv_tokens=233_000,
            host_tokens=host_tokens,
            kv_bytes_per_token=KV_BYTES_32B,
            restore_bytes_s=RESTORE_BYTES_S,
            speed=speed_of(calibration(data), "h200_sxm|Qwen/Qwen3-32B|tp1"),
            continues=True,
        ),
        tier=2,
        tier_min=1,
    )


def l40s(data: Path, host_tokens: int = 0, name: str = "l40s") -> Host:
    """Qwen3-8B: (48 GB * 0.92 - 16.4 GB) / 147,456 bytes."""
    return Host(
        name=name,
        capacity=Capacity(
            slots=SLOTS,
            kv_tokens=188_000,
            host_tokens=host_tokens,
            kv_bytes_per_token=KV_BYTES_8B,
            restore_bytes_s=RESTORE_BYTES_S / 2,
            speed=speed_of(calibration(data), "l40s|Qwen/Qwen3-8B|tp1"),
            continues=True,
        ),
        tier=1,
    )


def cpu() -> Host:
    return Host(
        name="cpu",
        capacity=Capacity(slots=8, kv_tokens=64_000, kv_bytes_per_token=28_672, speed=CPU),
        tier=0,
    )


def one_h200(data: Path, with_host: bool) -> list[Host]:
    return [h200(data, HOST_TOKENS if with_host else 0)]


def mixed(data: Path, with_host: bool) -> list[Host]:
    """Large tasks only fit the H200s; small ones the L40S too; micro calls also the CPU."""
    tokens = HOST_TOKENS if with_host else 0
    return [
        h200(data, tokens, "h200-0"),
        h200(data, tokens, "h200-1"),
        l40s(data, tokens // 2, "l40s-0"),
        l40s(data, tokens // 2, "l40s-1"),
        cpu(),
    ]
