"""What every external vector store must do.

Those that can be run here are run; the others answer from transcripts (`vector_transcripts`).
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from vector_servers import LIVE, Opener, live
from vector_transcripts import KINDS, told

from orlop.abi.ids import TenantId
from orlop.memory.stores.store import Place, Point
from orlop.memory.vectors import packed

ANN, BOB = TenantId("ann"), TenantId("bob")
HOME = Place(ANN, "n", "model")


@pytest.fixture(params=[*LIVE, *(f"{kind} by transcript" for kind in KINDS)])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    kind = str(request.param)
    name = kind.removesuffix(" by transcript")
    test = str(request.node.originalname)
    with live(kind, tmp_path) if kind in LIVE else told(name, test, tmp_path) as made:
        yield made


def point(id: int, *vector: float) -> Point:
    return Point(id, packed(vector))


def test_the_nearest_are_named_within_their_tenant_and_namespaces(opener: Opener) -> None:
    store = opener("one")
    store.clear()
    store.put(HOME, [point(1, 1, 0), point(2, 0, 1)])
    store.put(Place(BOB, "n", "model"), [point(3, 1, 0)])
    other = Place(ANN, "m/\"'é", "model")
    store.put(other, [point(4, 1, 0)])
    assert store.near([HOME], (1.0, 0.125), 1) == [1]
    assert sorted(store.near([HOME], (1.0, 0.125), 5)) == [1, 2]
    assert {1, 4} <= set(store.near([HOME, other], (1.0, 0.125), 2))
    assert store.near([Place(BOB, "n", "model")], (0.0, 1.0), 5) == [3]


def test_what_is_put_again_is_replaced_and_what_is_dropped_is_gone(opener: Opener) -> None:
    store = opener("one")
    store.clear()
    store.drop(HOME, [7])
    store.put(HOME, [point(1, 1, 0), point(2, 0, 1), point(3, 1, 1)])
    store.put(HOME, [point(1, 0, 1), point(2, 1, 0)])
    assert store.near([HOME], (1.0, 0.0), 1) == [2]
    store.drop(HOME, [2, 9])
    assert sorted(store.near([HOME], (1.0, 0.0), 9)) == [1, 3]


def test_it_can_be_emptied_and_filled_anew_at_any_time_and_others_keep_theirs(
    opener: Opener,
) -> None:
    one, other = opener("one"), opener("another kernel")
    one.clear()
    other.clear()
    one.put(HOME, [point(1, 1, 0)])
    one.put(Place(ANN, "n", "second model"), [point(1, 1, 0)])
    other.put(HOME, [point(8, 1, 0)])
    one.clear()
    one.clear()
    one.put(HOME, [point(5, 1, 0)])
    assert one.near([HOME], (1.0, 0.0), 9) == [5]
    assert other.near([HOME], (1.0, 0.0), 9) == [8]


def test_vectors_of_models_with_other_lengths_lie_side_by_side(opener: Opener) -> None:
    store = opener("one")
    if store.name.startswith("pinecone"):
        pytest.skip("an index of Pinecone has one length, and the operator makes it")
    store.clear()
    wide = Place(ANN, "n", "an embedding model / of 4")
    store.put(HOME, [point(1, 1, 0)])
    store.put(wide, [point(2, 1, 0, 0, 0)])
    assert store.near([HOME], (1.0, 0.0), 9) == [1]
    assert store.near([wide], (1.0, 0.0, 0.0, 0.0), 9) == [2]


def test_threads_take_turns_with_it(opener: Opener) -> None:
    store = opener("one")
    store.clear()
    failed: list[BaseException] = []

    def fill() -> None:
        try:
            store.put(HOME, [point(1, 1, 0)])
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    assert not failed
    assert store.near([HOME], (1.0, 0.0), 9) == [1]


def test_a_place_that_was_never_fed_names_nothing(opener: Opener) -> None:
    store = opener("one")
    store.clear()
    store.put(HOME, [point(1, 1, 0)])
    assert store.near([Place(ANN, "elsewhere", "model")], (1.0, 0.0), 9) == []
