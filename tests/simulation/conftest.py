"""Tells at the end how much went wrong, so that a campaign can say what it has seen."""

from collections import Counter

import pytest

SEEN = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SEEN] = Counter()


@pytest.fixture
def seen(pytestconfig: pytest.Config) -> Counter[str]:
    """What went wrong in all days so far, by kind."""
    return pytestconfig.stash[SEEN]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    seen = config.stash[SEEN]
    if seen:
        counts = ", ".join(f"{number} {what}" for what, number in sorted(seen.items()))
        terminalreporter.write_line(f"simulated: {counts}")
