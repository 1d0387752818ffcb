"""What several contracts stand on."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from journals import Disk, PostgresDisk, SqliteDisk, VolatileDisk
from postgres_server import Server, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of the module's own."""
    with postgres() as made:
        yield made


@pytest.fixture(params=["sqlite", "volatile", "postgres"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Each tape in turn."""
    if request.param == "volatile":
        yield VolatileDisk()
        return
    made: SqliteDisk | PostgresDisk = SqliteDisk(tmp_path / "home")
    if request.param == "postgres":
        url = request.getfixturevalue("server").url
        made = PostgresDisk(tmp_path / "home", url, f"journal_{secrets.token_hex(4)}")
    yield made
    made.close()
