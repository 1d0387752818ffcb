"""What users may rely on, and what it costs to import."""

import subprocess
import sys
from pathlib import Path

import orlop

PUBLIC = [
    "Agent",
    "Kernel",
    "KernelError",
    "Process",
    "SyncKernel",
    "SyncProcess",
    "agent",
    "connect",
    "connect_sync",
    "effect_key",
    "narrowed",
]


def test_the_public_names_are_these() -> None:
    assert orlop.__all__ == PUBLIC
    assert all(getattr(orlop, name).__module__.startswith("orlop.") for name in PUBLIC)


def test_every_public_name_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sdk.md").read_text()
    assert all(f"orlop.{name}" in page for name in PUBLIC)


def test_type_checkers_see_the_same_names() -> None:
    stub = Path(orlop.__file__).with_suffix(".pyi").read_text()
    assert all(f"import {name} as {name}\n" in stub for name in PUBLIC)


def test_the_synchronous_client_loads_neither_aiohttp_nor_asyncio() -> None:
    program = "import sys, orlop; orlop.connect_sync; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"aiohttp", "asyncio", "rich", "http.client"} & set(ended.stdout.split())
