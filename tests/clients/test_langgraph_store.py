"""LangGraph's long-term store in the kernel: what its own stores promise, and versions besides."""

import asyncio
from uuid import uuid4

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp
from live_kernel import LiveKernel

import orlop
from orlop.machine import plain_clock
from orlop.sdk.langgraph_store import OrlopStore


@pytest.fixture
def store(kernel: LiveKernel) -> OrlopStore:
    return OrlopStore(orlop.connect_sync(home=kernel.home), folder=f"/store-{uuid4()}")


def test_an_item_is_put_found_changed_and_deleted(store: OrlopStore) -> None:
    store.put(("users", "ann"), "likes", {"food": "figs"})
    first = store.get(("users", "ann"), "likes")
    assert first is not None
    assert first.value == {"food": "figs"}
    store.put(("users", "ann"), "likes", {"food": "plums"})
    second = store.get(("users", "ann"), "likes")
    assert second is not None
    assert second.value == {"food": "plums"}
    assert second.created_at == first.created_at < second.updated_at
    store.delete(("users", "ann"), "likes")
    store.delete(("users", "ann"), "likes")
    assert store.get(("users", "ann"), "likes") is None
    assert store.get(("nobody",), "x") is None


def test_a_search_filters_pages_and_keeps_to_its_namespace(store: OrlopStore) -> None:
    for number in range(5):
        store.put(("docs", "a"), f"k{number}", {"n": number, "even": number % 2 == 0})
    store.put(("docs", "b"), "other", {"n": 99})
    store.put(("docsx",), "not this", {"n": 7})
    assert len(store.search(("docs",), limit=100)) == 6
    assert {one.key for one in store.search(("docs", "a"), filter={"even": True})} == {
        "k0",
        "k2",
        "k4",
    }
    assert [one.value["n"] for one in store.search(("docs", "a"), filter={"n": {"$gte": 3}})] == [
        3,
        4,
    ]
    assert [one.key for one in store.search(("docs", "a"), limit=2, offset=1)] == ["k1", "k2"]
    with pytest.raises(ValueError, match="operator"):
        store.search(("docs",), filter={"n": {"$near": 3}})


def test_a_search_by_text_puts_the_nearest_first(store: OrlopStore) -> None:
    store.put(("m",), "one", {"text": "the cat sleeps on the sofa"})
    store.put(("m",), "two", {"text": "invoices are due in March"})
    for _ in range(100):
        found = store.search(("m",), query="invoices March")
        if found[0].score:
            break
        plain_clock.pause(0.1)
    assert found[0].key == "two"
    assert [one.key for one in found] == ["two", "one"]


def test_namespaces_are_listed_by_prefix_suffix_and_depth(store: OrlopStore) -> None:
    for namespace in (("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("z",)):
        store.put(namespace, "k", {})
    assert store.list_namespaces(prefix=("a",), max_depth=2) == [("a", "b"), ("a", "x")]
    assert store.list_namespaces(suffix=("d",)) == [("a", "b", "d")]
    assert store.list_namespaces(prefix=("a", "*", "c")) == [("a", "b", "c")]
    assert len(store.list_namespaces(limit=2, offset=3)) == 1


def test_a_batch_reads_what_was_there_before_and_writes_at_once(store: OrlopStore) -> None:
    store.put(("n",), "k", {"v": 1})
    results = store.batch(
        [
            GetOp(("n",), "k"),
            PutOp(("n",), "k", {"v": 2}),
            PutOp(("n",), "k", {"v": 3}),
            SearchOp(("n",), None, 10, 0),
        ]
    )
    assert getattr(results[0], "value", None) == {"v": 1}
    item = asyncio.run(store.aget(("n",), "k"))
    assert item is not None
    assert item.value == {"v": 3}


def test_odd_names_are_names(store: OrlopStore) -> None:
    for key in ("a/b", "..", "ä ö", "x" * 400, "%2F", "*"):
        store.put(("odd", "n*", "ü"), key, {"key": key})
        item = store.get(("odd", "n*", "ü"), key)
        assert item is not None
        assert item.value == {"key": key}
    with pytest.raises(NotImplementedError):
        store.put(("ttl",), "k", {}, ttl=1.0)
