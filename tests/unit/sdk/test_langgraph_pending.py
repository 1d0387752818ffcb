"""What tasks wrote goes along with the checkpoint that follows; whoever wrote waits until then."""

import threading
from collections.abc import Sequence

import pytest

from orlop.abi.errors import DeviceFailed
from orlop.sdk import langgraph_pending
from orlop.sdk.langgraph_pending import Pending, PendingWrites

ONE = Pending("task", 0, "said", "", ("json", b"1"), ())
TWO = Pending("other", 0, "said", "", ("json", b"2"), ())


def test_writes_that_no_checkpoint_follows_go_alone_and_together() -> None:
    gone: list[tuple[str, list[Pending]]] = []
    waiting = PendingWrites(lambda path, writes: gone.append((path, list(writes))))
    threads = [
        threading.Thread(target=waiting.add, args=("/a", [one]), kwargs={"soon": False})
        for one in (ONE, TWO)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path for path, _ in gone} == {"/a"}
    assert sorted(one.task for _, writes in gone for one in writes) == ["other", "task"]


def test_a_checkpoint_takes_along_what_waits_and_says_when_it_is_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(langgraph_pending, "LINGER_S", 60.0)
    there, alone, went_on = threading.Event(), list[str](), threading.Event()

    class Noted(PendingWrites):
        def add(self, path: str, writes: Sequence[Pending], *, soon: bool) -> None:
            super().add(path, writes, soon=soon)
            went_on.set()

    waiting = Noted(lambda path, _: alone.append(path))
    thread = threading.Thread(target=waiting.add, args=("/a", [ONE]), kwargs={"soon": False})
    thread.start()
    batch = None
    while batch is None:  # It may not have begun yet.
        batch = waiting.take("/a")

    def work() -> None:
        assert not went_on.is_set()
        there.set()

    waiting.tell(batch, work)
    thread.join()
    assert there.is_set() and went_on.is_set() and batch.writes == [ONE] and not alone


def test_a_checkpoint_that_fails_fails_for_those_that_it_took_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(langgraph_pending, "LINGER_S", 60.0)
    failed: list[str] = []
    waiting = PendingWrites(lambda _path, _writes: None)

    def write() -> None:
        try:
            waiting.add("/a", [ONE], soon=False)
        except DeviceFailed as error:
            failed.append(error.message)

    thread = threading.Thread(target=write)
    thread.start()
    batch = None
    while batch is None:
        batch = waiting.take("/a")

    def work() -> None:
        raise DeviceFailed("the kernel is gone")

    with pytest.raises(DeviceFailed):
        waiting.tell(batch, work)
    thread.join()
    assert failed == ["the kernel is gone"]


def test_an_interrupt_does_not_wait() -> None:
    gone: list[str] = []
    waiting = PendingWrites(lambda path, _: gone.append(path))
    waiting.add("/a", [ONE], soon=True)
    assert gone == ["/a"] and waiting.take("/a") is None
