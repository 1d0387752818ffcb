"""What tests of sandboxes share: which tiers there are, and programs in one under a real kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel

from orlop.abi.sandbox import TierFound
from orlop.sandbox import tiers

FOUND: dict[str, TierFound] = {tier: tiers.trial(tier) for tier in tiers.TIERS}

needs_sandbox = pytest.mark.skipif(
    not any(one.works for one in FOUND.values()),
    reason="; ".join(f"{tier}: {one.reason}" for tier, one in FOUND.items()),
)


def needs(tier: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not FOUND[tier].works, reason=FOUND[tier].reason)


def ran(kernel: LiveKernel, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`orlop run WORDS` to its end."""
    return subprocess.run(
        [*ORLOP, "run", *words],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )


def python(script: str, *arguments: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", script, *arguments)
