"""What is kept has the labels that it was written with, until it is written anew."""

import pytest

from orlop.abi.calls import Call
from orlop.abi.files import (
    ChangeFiles,
    Contents,
    FileAction,
    FileRead,
    FileWrite,
    Put,
    ReadFiles,
    SearchFiles,
    Take,
    WriteFiles,
)
from orlop.abi.hints import Facts
from orlop.abi.ids import CallId, TenantId
from orlop.abi.limits import THINGS_LABELLED_MAX
from orlop.abi.replies import Done
from orlop.access.labelled import Labelled

ACME, OTHER = TenantId("acme"), TenantId("other")
WEB = frozenset({"untrusted", "web"})
CLEAN = frozenset[str]()
FACTS = Facts(call=CallId("cal_1"))
READ = Contents(files=(), facts=FACTS)


def write(path: str, *, append: bool = False) -> WriteFiles:
    return WriteFiles(files=(FileWrite(path=path, data=b"x", append=append),))


def read(table: Labelled, path: str, tenant: TenantId = ACME) -> frozenset[str]:
    return table.brought(tenant, ReadFiles(files=(FileRead(path=path),)), READ)


def test_an_old_version_brings_its_labels_back() -> None:
    table = Labelled()
    table.entered(ACME, write("/a"), WEB)
    table.entered(ACME, write("/a"), CLEAN)
    assert read(table, "/a") == CLEAN
    first = ReadFiles(files=(FileRead(path="/a", version=1),))
    assert table.brought(ACME, first, READ) == WEB
    then = ReadFiles(files=(FileRead(path="/a"),), at="before")
    assert table.brought(ACME, then, READ) == WEB
    table.entered(ACME, change("rollback", "/a"), CLEAN)
    assert read(table, "/a") == WEB


def test_a_file_that_begins_with_another_has_its_labels() -> None:
    table = Labelled()
    table.entered(ACME, write("/a"), WEB)
    onto = FileWrite(path="/b", onto="/a", data=b"more")
    table.entered(ACME, WriteFiles(files=(onto,)), CLEAN)
    assert read(table, "/b") == WEB


def change(action: FileAction, path: str, to: str = "") -> ChangeFiles:
    return ChangeFiles(action=action, path=path, to=to)


def test_a_file_has_the_labels_of_its_last_whole_write() -> None:
    table = Labelled()
    table.entered(ACME, write("/a"), WEB)
    assert read(table, "/a") == WEB and read(table, "/b") == CLEAN
    assert read(table, "/a", OTHER) == CLEAN
    table.entered(ACME, write("/a", append=True), CLEAN)
    assert read(table, "/a") == WEB
    table.entered(ACME, write("/a"), CLEAN)
    assert read(table, "/a") == CLEAN


def test_copies_and_moves_take_labels_along_and_deletion_ends_them() -> None:
    table = Labelled()
    table.entered(ACME, write("/in/a"), WEB)
    table.entered(ACME, write("/in/b"), frozenset({"mail"}))
    table.entered(ACME, change("copy", "/in", "/copy"), CLEAN)
    table.entered(ACME, change("move", "/in/a", "/moved"), CLEAN)
    assert read(table, "/in/a") == CLEAN and read(table, "/moved") == WEB
    assert read(table, "/copy/a") == WEB and read(table, "/copy/b") == {"mail"}
    table.entered(ACME, change("delete", "/copy"), CLEAN)
    assert read(table, "/copy/a") == CLEAN


@pytest.mark.parametrize(
    ("call", "done"),
    [
        (SearchFiles(text="x", path="/in"), READ),
        (Take(pipe="/pipe"), READ),
    ],
    ids=["search", "pipe"],
)
def test_searches_and_pipes_bring_labels_too(call: Call, done: Done) -> None:
    table = Labelled()
    assert table.brought(ACME, call, done) == CLEAN
    table.entered(ACME, write("/in/deep/a"), WEB)
    table.entered(ACME, Put(pipe="/pipe", data=b"x"), WEB)
    assert table.brought(ACME, call, done) == WEB


def test_a_snapshot_keeps_them_and_beyond_the_bound_nothing_becomes_clean_by_itself() -> None:
    table = Labelled()
    table.entered(ACME, write("/first"), frozenset({"mail"}))
    for number in range(THINGS_LABELLED_MAX):
        table.entered(ACME, write(f"/{number}"), WEB)
    again = Labelled(table.state())
    assert len(again.things) == THINGS_LABELLED_MAX
    assert again.state() == table.state()
    assert read(again, "/first") == {"mail"} and read(again, "/1") == WEB
    assert read(again, "/never-seen") == {"mail"}
    assert read(again, "/first", OTHER) == CLEAN
    again.entered(ACME, write("/first"), CLEAN)
    assert read(again, "/first") == CLEAN
    again.entered(ACME, change("copy", "/never-seen", "/first"), CLEAN)
    assert "mail" in read(again, "/first")
    again.entered(ACME, write("/new", append=True), CLEAN)
    assert "mail" in read(again, "/new")
