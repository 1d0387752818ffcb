"""`orlop` commands that may fail, which is what some tests are about."""

import os
import subprocess
from pathlib import Path

from live_kernel import ORLOP


def attempt(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ORLOP, *arguments],
        env={**os.environ, "ORLOP_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
