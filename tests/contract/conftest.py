"""What several contracts stand on."""

from collections.abc import Iterator

import pytest
from postgres_server import Server, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of the module's own."""
    with postgres() as made:
        yield made
