"""Tools that are commands."""

import asyncio
import sys

from orlop.abi.cards import ToolCard
from orlop.devices.process import SubprocessTool

LEAVES_ONE_RUNNING = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print('"done"')
"""


def test_a_tool_that_leaves_something_running_has_done_its_work_all_the_same() -> None:
    card = ToolCard(name="starter", command=(sys.executable, "-c", LEAVES_ONE_RUNNING))

    async def scenario() -> object:
        return await SubprocessTool(card).call({}, "key", 60.0)

    assert asyncio.run(scenario()) == "done"
