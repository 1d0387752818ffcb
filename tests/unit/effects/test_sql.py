"""Statements on real databases as tools: what is written is written once for one effect."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres_server import postgres

from orlop.abi.errors import DeadlineMissed, DeviceBusy, KernelError, Misconfigured, ToolFailed
from orlop.effects import connectors, sql
from orlop.effects.sql import SqlConfig, SqlTool, StatementConfig
from orlop.tools.schema import Schema

STATEMENTS = {
    "create": StatementConfig(
        sql="CREATE TABLE IF NOT EXISTS orders(id integer PRIMARY KEY, note text)", writes=True
    ),
    "insert": StatementConfig(
        sql="INSERT INTO orders(id, note) VALUES (:id, :note) RETURNING id", writes=True
    ),
    "count": StatementConfig(sql="SELECT count(*) AS n FROM orders WHERE note <> ':id' -- :no"),
    "sneaky": StatementConfig(sql="DELETE FROM orders WHERE id = :id"),
    "like": StatementConfig(sql="SELECT id FROM orders WHERE note LIKE '%' AND note = :note"),
}

Scenario = Callable[[dict[str, SqlTool]], Awaitable[None]]


def with_database(url: str, scenario: Scenario, **how: object) -> None:
    async def whole() -> None:
        config = SqlConfig(url=url, statements=STATEMENTS, **how)  # type: ignore[arg-type]
        connectors.check({"shop": config}, {}, {})
        base = connectors.database("shop", config)
        tools = {
            name: SqlTool(base, f"shop.{name}", config, statement)
            for name, statement in STATEMENTS.items()
        }
        try:
            await tools["create"].call({}, "create", 20)
            await scenario(tools)
        finally:
            await base.close()

    asyncio.run(whole())


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        (tmp_path / "shop.db").touch()
        yield f"sqlite:///{tmp_path}/shop.db"
        return
    with postgres() as server:
        yield server.url


def test_a_statement_happens_once_for_one_effect_and_is_answered_alike(url: str) -> None:
    async def scenario(tools: dict[str, SqlTool]) -> None:
        order = {"id": 1, "note": "it's; DROP TABLE orders --"}
        first = await tools["insert"].call(order, "cal_1", 20)
        assert first == {"rows": [{"id": 1}], "count": 1}
        again = await asyncio.gather(*(tools["insert"].call(order, "cal_1", 20) for _ in range(8)))
        assert again == [first] * 8
        assert await tools["count"].call({}, "", 20) == {"rows": [{"n": 1}], "count": 1}
        assert await tools["insert"].happened("cal_1") is True
        assert await tools["insert"].happened("cal_2") is False
        found = await tools["like"].call({"note": order["note"]}, "", 20)
        assert found == {"rows": [{"id": 1}], "count": 1}

    with_database(url, scenario)


def test_one_effect_at_the_same_time_from_many_sides_happens_once(url: str) -> None:
    async def scenario(tools: dict[str, SqlTool]) -> None:
        order = {"id": 5, "note": "x"}
        answers = await asyncio.gather(
            *(tools["insert"].call(order, "cal_5", 20) for _ in range(10))
        )
        assert answers == [{"rows": [{"id": 5}], "count": 1}] * 10

    with_database(url, scenario)


def test_what_the_database_refuses_has_not_happened_and_may_be_done_otherwise(url: str) -> None:
    async def scenario(tools: dict[str, SqlTool]) -> None:
        await tools["insert"].call({"id": 1, "note": "a"}, "cal_1", 20)
        with pytest.raises(ToolFailed, match="refused"):
            await tools["insert"].call({"id": 1, "note": "b"}, "cal_2", 20)
        assert await tools["insert"].happened("cal_2") is False
        await tools["insert"].call({"id": 2, "note": "b"}, "cal_2", 20)
        with pytest.raises(ToolFailed, match="was not given"):
            await tools["insert"].call({"id": 3}, "cal_3", 20)

    with_database(url, scenario)


def test_a_statement_that_only_reads_can_change_nothing(url: str) -> None:
    async def scenario(tools: dict[str, SqlTool]) -> None:
        await tools["insert"].call({"id": 1, "note": "a"}, "cal_1", 20)
        assert tools["sneaky"].card.effect == "pure"
        with pytest.raises(KernelError):
            await tools["sneaky"].call({"id": 1}, "", 20)
        assert await tools["count"].call({}, "", 20) == {"rows": [{"n": 1}], "count": 1}

    with_database(url, scenario)


def test_more_rows_than_allowed_is_an_error_and_no_shorter_answer(url: str) -> None:
    async def scenario(tools: dict[str, SqlTool]) -> None:
        for id in range(3):
            await tools["insert"].call({"id": id, "note": "a"}, f"cal_{id}", 20)
        with pytest.raises(ToolFailed, match="more than 2 rows"):
            await tools["like"].call({"note": "a"}, "", 20)

    with_database(url, scenario, rows_max=2)


def test_a_locked_file_is_told_from_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()

    async def scenario(tools: dict[str, SqlTool]) -> None:
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises((DeviceBusy, DeadlineMissed)):
                await tools["insert"].call({"id": 1, "note": "a"}, "cal_1", 20)
            other.execute("ROLLBACK")
        await tools["insert"].call({"id": 1, "note": "a"}, "cal_1", 20)

    with_database(f"sqlite:///{tmp_path}/shop.db", scenario)


def test_only_what_is_named_outside_of_quotes_is_bound() -> None:
    text = """SELECT ':a', "b:c", x::int, $$ :d $$, $q$ :e $q$ /* :f */, 5 % :g, :g -- :h"""
    assert sql.parameters(text) == ["g"]
    assert sql.pyformat(text).endswith("5 %% %(g)s, %(g)s -- :h")


def test_a_cards_arguments_are_those_that_its_statement_binds() -> None:
    config = SqlConfig(url="sqlite:///x", statements=STATEMENTS)
    tool = SqlTool(connectors.database("shop", config), "shop.insert", config, STATEMENTS["insert"])
    schema = Schema(tool.card.parameters)
    assert not schema.wrong({"id": 1, "note": "a"})
    assert schema.wrong({"id": 1}) and schema.wrong({"id": 1, "note": "a", "more": 1})
    assert tool.card.effect == "idempotent"


@pytest.mark.parametrize("url", ["mysql://x", "orders.db", "http://x"])
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="sqlite:///FILE or postgresql"):
        connectors.check({"shop": SqlConfig(url=url, statements={})}, {}, {})


def test_a_file_that_is_not_there_is_not_made_and_one_that_comes_is_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = tmp_path / "shop 1.db"
        config = SqlConfig(url=f"sqlite:///{file}", statements=STATEMENTS)
        base = connectors.database("shop", config)
        with pytest.raises(DeviceBusy, match=r"shop 1\.db can't be opened: No such file"):
            await base.read("SELECT 1", {}, 10, 20)
        assert not file.exists()
        for note in ("first", "second"):
            file.unlink(missing_ok=True)
            with closing(sqlite3.connect(file)) as other:
                other.execute("CREATE TABLE orders(id, note)")
                other.execute("INSERT INTO orders VALUES (1, ?)", (note,))
                other.commit()
            answer = await base.read("SELECT note FROM orders", {}, 10, 20)
            assert answer == {"rows": [{"note": note}], "count": 1}
        await base.close()

    asyncio.run(scenario())
