"""Journals of every release: they open, verify, rebuild their tables, and replay to the byte."""

import asyncio
import json
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from golden_home import Exchanged, Golden, OldKernel, opened, tables_of

from orlop.store import schema
from orlop.store.home import Home
from orlop.store.sqlite import SqliteTape
from orlop.store.verify import verify

JOURNALS = Path(__file__).parent / "journals"
RELEASES = sorted(path.name for path in JOURNALS.iterdir() if (path / "golden.json").exists())
BYTES_MAX = 300_000


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> Path:
    return JOURNALS / str(request.param)


@pytest.fixture
def home(release: Path, tmp_path: Path) -> Path:
    """A copy; git does not keep the modes of secret files."""
    copy = tmp_path / "home"
    shutil.copytree(release, copy)
    for path in (copy, copy / "keys"):
        path.chmod(0o700)
    for path in (copy / "keys").iterdir():
        path.chmod(0o600)
    return copy


def golden(release: Path) -> Golden:
    return msgspec.json.decode((release / "golden.json").read_bytes(), type=Golden)


def test_there_is_a_journal_of_some_release() -> None:
    assert RELEASES


def test_it_is_small(release: Path) -> None:
    assert sum(path.stat().st_size for path in release.rglob("*") if path.is_file()) < BYTES_MAX


def test_a_kernel_of_today_brings_its_views_up_to_date(home: Path) -> None:
    tape = SqliteTape(Home(home), free_bytes_min=0)
    tape.lock()
    tape.write()
    tape.close()
    connection = sqlite3.connect(home / "journal.db")
    assert connection.execute(schema.VIEWS_ARE_OLD).fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM calls").fetchone() > (0,)
    connection.close()


def test_it_verifies_offline(home: Path) -> None:
    verdict = verify(home)
    assert verdict.is_whole, verdict


def test_it_holds_no_plain_text(home: Path) -> None:
    database = (home / "journal.db").read_bytes()
    assert b"bookshop" not in database
    with sqlite3.connect(home / "journal.db") as connection:
        assert connection.execute("SELECT count(*) FROM event").fetchone()[0] > 50
    connection.close()


def test_it_rebuilds_the_same_tables(home: Path, release: Path) -> None:
    kept = json.loads(bytes(golden(release).tables))
    now = json.loads(asyncio.run(tables_of(home)))
    assert what_was_known(now, kept) == kept


def what_was_known(now: object, then: object) -> object:
    """`now` without the fields that `then` did not have yet: a later release knows more."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {name: what_was_known(now[name], then[name]) for name in then}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [what_was_known(one, other) for one, other in zip(now, then, strict=True)]
    return now


def test_its_snapshot_says_what_all_its_events_say(home: Path) -> None:
    by_snapshot = json.loads(asyncio.run(tables_of(home)))
    by_events = json.loads(asyncio.run(tables_of(home, from_start=True)))
    assert by_snapshot == by_events


async def replayed(old: OldKernel, said: Golden, process: str) -> list[tuple[int, str]]:
    """Resume a client's process, and make its calls again; there is no engine."""
    order = f"/orlop/v1/processes/{process}"
    await old.ask("POST", f"{order}/signal", '{"signal": "kill"}', old.operator)
    status, body = await old.ask("POST", f"{order}/resume", "{}", old.operator)
    assert status == 200, body
    return [
        await old.ask("POST", one.path, one.body, said.key, process)
        for one in said.exchanged
        if one.process == process and one.status == 200
    ]


def given(said: Golden, process: str) -> list[Exchanged]:
    return [one for one in said.exchanged if one.process == process and one.status == 200]


def test_a_process_gets_every_answer_again_to_the_byte(home: Path, release: Path) -> None:
    said = golden(release)

    async def scenario() -> None:
        async with opened(home) as old:
            for process in ("talker", "wanderer"):
                answers = await replayed(old, said, process)
                for one, (status, body) in zip(given(said, process), answers, strict=True):
                    assert status == 200, body
                    assert body == one.answer

    asyncio.run(scenario())


def test_a_tool_is_not_called_again(home: Path, release: Path) -> None:
    """There is no tool in this kernel, so each answer is the record's; the facts say so."""
    said = golden(release)

    async def scenario() -> None:
        async with opened(home) as old:
            answers = await replayed(old, said, "doer")
            for one, (status, body) in zip(given(said, "doer"), answers, strict=True):
                assert status == 200, body
                read, was = json.loads(body), json.loads(one.answer)
                assert read["facts"].pop("replayed") is True
                assert read == was

    asyncio.run(scenario())


def test_a_call_that_is_not_in_its_record_is_a_divergence(home: Path, release: Path) -> None:
    said = golden(release)

    async def scenario() -> None:
        async with opened(home, engine=True) as old:
            order = "/orlop/v1/processes/talker"
            await old.ask("POST", f"{order}/signal", '{"signal": "kill"}', old.operator)
            await old.ask("POST", f"{order}/resume", "{}", old.operator)
            call = '{"model": "fake", "messages": [{"role": "user", "content": "never asked"}]}'
            status, body = await old.ask("POST", "/v1/chat/completions", call, said.key, "talker")
            assert (status, json.loads(body)["error"]["code"]) == (409, "E1204")
            assert "never asked" in body

    asyncio.run(scenario())
