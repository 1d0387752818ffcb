"""Older tables become today's: shown first, then made; nothing is taken away."""

import asyncio
import secrets
import tomllib
from pathlib import Path

import psycopg
import pytest
from journals import PostgresDisk, intent, opened
from postgres_server import Server

from orlop.abi.errors import Misconfigured
from orlop.operate.journal_settings import with_journal
from orlop.store import tapes
from orlop.store.home import Home
from orlop.store.tapes import JournalConfig
from orlop.store.verify import verify


def test_a_plan_names_the_steps_and_an_upgrade_makes_them(server: Server, tmp_path: Path) -> None:
    name = f"old_{secrets.token_hex(4)}"
    disk = PostgresDisk(tmp_path / "home", server.url, name)
    home, config = Home(tmp_path / "home"), JournalConfig(url=server.url, schema=name)

    async def write() -> None:
        async with opened(disk) as journal:
            await journal.durable(journal.append(intent(1)).seq)

    asyncio.run(write())
    disk.close()
    assert tapes.pending(home, config) == []
    with psycopg.connect(server.url, autocommit=True) as operator:
        operator.execute(f"DROP TABLE {name}.owner")
        operator.execute(f"DELETE FROM {name}.meta WHERE name = 'layout'")
    (step,) = tapes.pending(home, config)
    assert "epoch" in step
    assert tapes.pending(home, config) == [step], "a plan changes nothing"
    tapes.upgrade(home, config)
    assert tapes.pending(home, config) == []
    assert verify(tmp_path / "home", config=config).is_whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[http]\nport = 1\n",
        '[journal]\nanchors = ["a"]  # mine\n\n[http]\nport = 1\n',
        '[journal]\nurl = "postgresql://old"\nschema = "old"\n[models]\n',
        '# first\n[ journal ] # here\n  url="postgresql://old"\n',
    ],
)
def test_only_the_place_of_the_journal_is_changed_in_the_settings(text: str) -> None:
    before = tomllib.loads(text)
    there = with_journal(text, "postgresql://new?host=/tmp", "here")
    after = tomllib.loads(there)
    assert after["journal"]["url"] == "postgresql://new?host=/tmp"
    assert after["journal"]["schema"] == "here"
    back = tomllib.loads(with_journal(there, "", "orlop"))
    for found in (after, back):
        found["journal"].pop("url", None)
        found["journal"].pop("schema", None)
    before.setdefault("journal", {}).pop("url", None)
    before["journal"].pop("schema", None)
    assert after == before and back == before
    assert [line for line in text.splitlines() if "#" in line] == [
        line for line in there.splitlines() if "#" in line
    ]


def test_settings_that_say_it_in_another_way_are_left_alone_with_a_word() -> None:
    with pytest.raises(Misconfigured, match="yourself"):
        with_journal('journal = { url = "postgresql://old" }\n', "", "orlop")
