"""One kernel for all tests of the shell: they use processes of their own."""

from collections.abc import Iterator

import pytest
from live_kernel import LiveKernel, live_kernel


@pytest.fixture(scope="package")
def kernel() -> Iterator[LiveKernel]:
    with live_kernel() as running:
        yield running
