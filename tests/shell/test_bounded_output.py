"""What a program prints stays within bounds while it runs, and `orlop logs` tells what is gone."""

import sys
import time
from pathlib import Path

import pytest
from live_kernel import live_kernel
from shell.attempts import attempt

KEPT = 500_000
TALKER = """
import time
for line in range(200_000):
    print('%019d' % line)
print('done', flush=True)
time.sleep(600)
"""


def kept_bytes(home: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (home / "run").glob("*/1/out"))


@pytest.mark.skipif(sys.platform != "linux", reason="makes holes in files")
def test_a_program_that_prints_much_leaves_the_newest_of_it() -> None:
    with live_kernel(f"[output]\nstream_bytes = {KEPT}\n") as kernel:
        attempt(
            kernel.home, "run", "--detach", "--name", "talker", "--", sys.executable, "-c", TALKER
        )
        give_up_s = time.monotonic() + 60.0
        said = [""]
        while not said[0].endswith(" bytes are gone: output.stream_bytes]"):
            assert time.monotonic() < give_up_s
            said = attempt(kernel.home, "logs", "talker").stdout.splitlines() or [""]
        assert kept_bytes(kernel.home) <= 2 * KEPT
        assert said[-1] == "done"
        numbers = [int(line) for line in said[2:-1]]
        assert numbers == list(range(numbers[0], 200_000))
        attempt(kernel.home, "kill", "talker")
