"""A command at a terminal, when the supervisor that would start the kernel again is killed."""

import json
import os
import signal
import subprocess

from live_kernel import ORLOP, live_kernel

GIVE_UP_S = 20.0
"""Less than a client's patience, which is how long such a command waited once."""


def test_a_command_does_not_wait_for_a_kernel_that_will_not_come_back() -> None:
    with live_kernel() as kernel:
        run = ("run", "--detach", "--json", "--", "sleep", "600")
        pid = str(json.loads(kernel.orlop(*run))["pid"])
        environment = {**os.environ, "ORLOP_HOME": str(kernel.home)}
        command = [*ORLOP, "wait", pid]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as waits:
            supervisor = json.loads((kernel.home / "info.json").read_text())["supervisor_pid"]
            os.kill(int(supervisor), signal.SIGKILL)
            _, said = waits.communicate(timeout=GIVE_UP_S)
        assert waits.returncode == 3, said
        assert b"no kernel answers" in said
        for group in (("memory", "stats"), ("files", "ls"), ("ps",)):
            done = subprocess.run(
                [*ORLOP, *group],
                env=environment,
                capture_output=True,
                timeout=GIVE_UP_S,
                check=False,
            )
            assert done.returncode == 3, (group, done.stderr)
