"""One live kernel for all that goes wrong on the network."""

from collections.abc import Iterator

import pytest
from live_kernel import LiveKernel, live_kernel

CONFIG = """
[tools.echo]
command = ["cat"]
effect = "pure"

[http]
bodies_bytes = 8_000_000
receive_s = 2.0
stall_s = 2.0

[engines.dying]
driver = "fake"
fake = { models = ["dying"], embed_models = [], die = 1.0, dead_s = 0.2 }

[engines.long]
driver = "fake"
fake = { models = ["long"], embed_models = [], tokens = 600000, step_tokens = 20 }

[engines.hanging]
driver = "fake"
fake = { models = ["hanging"], embed_models = [], hang = 1.0 }
"""


@pytest.fixture(scope="session")
def kernel() -> Iterator[LiveKernel]:
    with live_kernel(CONFIG) as running:
        yield running
        log = (running.home / "log" / "kernel.log").read_text()
        assert "Traceback" not in log, log
