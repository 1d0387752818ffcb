"""Databases of tools that are not there, or lack something, are told of before a tool is called."""

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
from live_kernel import ORLOP, LiveKernel, live_kernel
from postgres_server import postgres

from orlop.abi.tools import ToolView
from orlop.sdk.operator import operator

SQLITE = """
[sql.shop]
url = "sqlite:///{file}"
[sql.shop.statements.refund]
sql = "UPDATE orders SET refunded = 1 WHERE id = :order"
writes = true
[sql.shop.statements.create]
sql = "CREATE TABLE orders(id integer, refunded integer)"
writes = true
"""
POSTGRES = """
[sql.nowhere]
url = "{nowhere}"
[sql.nowhere.statements.ping]
sql = "SELECT 1"
[sql.closed]
url = "postgresql://someone:secret@127.0.0.1:9/shop"
[sql.closed.statements.ping]
sql = "SELECT 1"
[sql.poor]
url = "{poor}"
[sql.poor.statements.look]
sql = "SELECT note FROM orders WHERE id = :id AND note LIKE '%'"
[sql.poor.statements.drop]
sql = "DELETE FROM orders WHERE id = :id"
writes = true
"""
TABLES = """
CREATE TABLE orders(id integer, note text);
CREATE ROLE poor LOGIN;
GRANT SELECT ON orders TO poor;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
"""


def until(kernel: LiveKernel, seen: Callable[[dict[str, ToolView]], bool]) -> dict[str, ToolView]:
    give_up_s = time.monotonic() + 60
    while True:
        views = {view.name: view for view in operator(home=kernel.home).tools()}
        if seen(views):
            return views
        assert time.monotonic() < give_up_s, views
        time.sleep(0.1)


def doctor(kernel: LiveKernel) -> str:
    command = [*ORLOP, "doctor", "--home", str(kernel.home)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return ended.stdout


def test_a_file_that_is_missing_and_then_a_table(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with live_kernel(SQLITE.format(file=file)) as kernel:
        views = until(kernel, lambda views: "can't be opened" in views["shop.*"].reason)
        assert {views[name].state for name in ("shop.*", "shop.refund")} == {"away"}
        assert str(file) in views["shop.*"].fix
        assert "shop.db can't be opened" in kernel.orlop("tools")
        said = doctor(kernel)
        assert "fail  tool shop.*: away: database shop:" in said and "[sql.shop] url" in said

        with closing(sqlite3.connect(file)) as made:
            made.execute("PRAGMA user_version = 1")
        views = until(kernel, lambda views: "no such table" in views["shop.*"].reason)
        assert views["shop.refund"].state == "ready"  # It is asked, and what it says is told.
        assert "statement refund: no such table: orders" in doctor(kernel)

        with closing(sqlite3.connect(file)) as made:
            made.execute("CREATE TABLE orders(id integer, refunded integer)")
        until(kernel, lambda views: "shop.*" not in views)
        assert "tools of shop: 2 can be called" in doctor(kernel)


def test_a_wrong_database_a_closed_port_and_a_user_without_rights() -> None:
    with postgres() as server:
        with psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute(TABLES.encode())
        poor = server.url.replace("postgres@", "poor@")
        config = POSTGRES.format(nowhere=server.url.replace("/postgres?", "/nowhere?"), poor=poor)
        with live_kernel(config) as kernel:
            views = until(
                kernel,
                lambda views: not any("not reached yet" in one.reason for one in views.values()),
            )
            assert 'database "nowhere" does not exist' in views["nowhere.*"].reason
            assert "can't be reached" in views["closed.*"].reason
            assert "secret" not in views["closed.*"].reason + views["closed.*"].fix
            assert "orlop_outbox" in views["poor.*"].reason
            assert "statement drop: permission denied for table orders" in views["poor.*"].reason
            assert "look" not in views["poor.*"].reason
            said = doctor(kernel)
            for name in ("nowhere", "closed", "poor"):
                assert f"fail  tool {name}.*" in said
            with psycopg.connect(server.url, autocommit=True) as owner:
                owner.execute(
                    b"GRANT DELETE ON orders TO poor; GRANT CREATE ON SCHEMA public TO poor"
                )
            until(kernel, lambda views: "poor.*" not in views)
