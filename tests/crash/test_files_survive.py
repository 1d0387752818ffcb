"""Writers of files while their kernel is killed: what was told is there, and nothing twice."""

import json
import os
import signal
import threading
import time

from live_kernel import LiveKernel, live_kernel

import orlop
from orlop.abi.errors import Conflict, KernelError

WRITERS = 4
ROUNDS = 60
KILLS = 3


def count(kernel: LiveKernel, number: int, told: list[int], failed: list[str]) -> None:
    """Counts in a file of its own, and takes part in a common count, by comparison."""
    with orlop.connect_sync(home=kernel.home) as system:
        for turn in range(1, ROUNDS + 1):
            try:
                made = system.files.write(f"/own/{number}", str(turn), if_version=turn - 1)
                if made != turn:
                    failed.append(f"turn {turn} made version {made}")
                while True:
                    row = system.files.versions("/common")[-1]
                    value = int(system.files.read("/common", version=row.version))
                    try:
                        told.append(
                            system.files.write("/common", str(value + 1), if_version=row.version)
                        )
                        break
                    except Conflict:
                        continue
            except KernelError as error:
                failed.append(f"{number}, turn {turn}: {error.code} {error.message}")
                return


def test_no_version_that_was_told_is_lost_and_none_is_made_twice() -> None:
    with live_kernel() as kernel:
        with orlop.connect_sync(home=kernel.home) as system:
            system.files.write("/common", "0")
        told: list[int] = []
        failed: list[str] = []
        writers = [
            threading.Thread(target=count, args=(kernel, number, told, failed))
            for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        for _ in range(KILLS):
            time.sleep(0.7)
            os.kill(json.loads(kernel.orlop("info", "--json"))["os_pid"], signal.SIGKILL)
        for writer in writers:
            writer.join(120)
            assert not writer.is_alive()
        assert not failed
        with orlop.connect_sync(home=kernel.home) as system:
            assert system.files.read("/common") == str(WRITERS * ROUNDS).encode()
            versions = [row.version for row in system.files.versions("/common")]
            assert versions == list(range(1, WRITERS * ROUNDS + 2))
            assert sorted(told) == versions[1:]
        kernel.orlop("journal", "verify")
