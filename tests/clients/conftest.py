"""One live kernel for all client tests; clients learn of it by environment variables only."""

from collections.abc import Iterator

import pytest
from live_kernel import LiveKernel, live_kernel


@pytest.fixture(scope="session")
def session_kernel() -> Iterator[LiveKernel]:
    with live_kernel() as kernel:
        yield kernel


@pytest.fixture
def kernel(session_kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> LiveKernel:
    for name, value in session_kernel.environment.items():
        monkeypatch.setenv(name, value)
    return session_kernel
