"""Memories and their vectors out of an index of FAISS, and into one."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from live_kernel import LiveKernel, live_kernel

import orlop
from orlop.abi.errors import BadCall
from orlop.abi.memory import Item

faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed")
MODEL = "a-model-of-tests"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveKernel]:
    with live_kernel() as made:
        yield made


def texts(tmp_path: Path, count: int) -> Path:
    file = tmp_path / "texts.jsonl"
    rows = [{"memory": f"text {number}", "id": str(number)} for number in range(count)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def written(tmp_path: Path, index: object) -> str:
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    return str(tmp_path / "index.faiss")


def test_an_index_and_its_texts_become_memories_and_an_index_again(
    live: LiveKernel, tmp_path: Path
) -> None:
    vectors = numpy.eye(3, 4, dtype=numpy.float32)
    flat = faiss.IndexFlatIP(4)
    flat.add(vectors)
    words = ["--format", "mem0", "-n", "common/faiss", "--vector-model", MODEL, "--json"]
    path = written(tmp_path, flat)
    said = live.orlop("memory", "import", str(texts(tmp_path, 3)), "--faiss", path, *words)
    assert json.loads(said) == {"read": 3, "written": 3, "skipped": []}
    with orlop.connect_sync(home=live.home) as kernel:
        found = kernel.recall(
            vector=(0.0, 1.0, 0.0, 0.0),
            vector_model=MODEL,
            mode="dense",
            namespaces=["common/faiss"],
        )
        assert found.memories[0].text == "text 1" and found.memories[0].score == pytest.approx(1.0)
    out = tmp_path / "out.faiss"
    lines = live.orlop("memory", "export", "-n", "common/faiss", "--faiss", str(out)).splitlines()
    again = faiss.read_index(str(out))
    assert [json.loads(line)["text"] for line in lines] == ["text 0", "text 1", "text 2"]
    assert numpy.allclose(again.reconstruct_n(0, again.ntotal), vectors, atol=1e-3)
    assert "vector" not in json.loads(lines[0])


def test_an_export_with_vectors_is_read_with_them(live: LiveKernel, tmp_path: Path) -> None:
    with orlop.connect_sync(home=live.home) as kernel:
        item = Item(text="the sun is hot", vector=(0.0, 0.0, 0.0, 2.0), vector_model=MODEL)
        kernel.remember([item], namespace="common/with")
    lines = live.orlop("memory", "export", "-n", "common/with", "--vectors")
    row = json.loads(lines)
    assert row["vector"] == [0, 0, 0, 1] and row["vector_model"] == MODEL
    file = tmp_path / "out.jsonl"
    file.write_text(lines)
    live.orlop("memory", "import", str(file), "-n", "common/read")
    again = json.loads(live.orlop("memory", "export", "-n", "common/read", "--vectors"))
    assert again["vector"] == [0, 0, 0, 1]


@pytest.mark.parametrize("kind", ["Flat", "IDMap,Flat", "IDMap2,Flat", "HNSW8", "IVF4,Flat", "SQ8"])
def test_indexes_of_all_usual_kinds_give_their_vectors(kind: str, tmp_path: Path) -> None:
    from orlop.shell import faiss_files

    vectors = numpy.random.default_rng(1).random((200, 8)).astype(numpy.float32)
    index = faiss.index_factory(8, kind)
    index.train(vectors)
    numbers = numpy.arange(200, dtype=numpy.int64)[::-1].copy()
    if kind.startswith("IDMap"):
        index.add_with_ids(vectors, numbers)
    else:
        index.add(vectors)
    found = faiss_files.read(Path(written(tmp_path, index)))
    row = 199 if kind.startswith("IDMap") else 0
    assert sorted(found) == list(range(200))
    assert found[row] == pytest.approx(vectors[0].tolist(), abs=0.01)


def test_what_is_no_index_or_of_other_texts_is_refused(live: LiveKernel, tmp_path: Path) -> None:
    from orlop.shell import faiss_files, memory_files
    from orlop.wire import memory_import

    broken = tmp_path / "broken.faiss"
    broken.write_bytes(b"IxFI" + b"\0" * 20)
    with pytest.raises(BadCall, match="no FAISS index"):
        faiss_files.read(broken)
    flat = faiss.IndexFlatIP(4)
    flat.add(numpy.eye(3, 4, dtype=numpy.float32))
    brought = list(memory_import.read("mem0", texts(tmp_path, 2).read_text()))
    with pytest.raises(BadCall, match=r"3 vectors, .* 2 memories"):
        memory_files.with_vectors(brought, Path(written(tmp_path, flat)), MODEL)
