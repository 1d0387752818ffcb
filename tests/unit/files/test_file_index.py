"""The index of passages: a projection that can be thrown away, and is when it is not ours."""

from pathlib import Path

from orlop.abi.ids import DEFAULT_TENANT, Seq
from orlop.files import passages
from orlop.files.index import Index, Indexed, News

TENANT = DEFAULT_TENANT


def filled(path: Path | None, identity: str = "jrn_1") -> Index:
    index = Index(path, identity)
    index.put([News(TENANT, "/a", Indexed(1, 7, 9), [(0, "lime trees"), (11, "in June")])])
    index.note(Seq(5))
    return index


def test_it_is_there_after_a_restart_and_anew_for_another_journal(tmp_path: Path) -> None:
    path = tmp_path / "index" / "passages.db"
    filled(path).close()
    again = Index(path, "jrn_1")
    assert again.mark == 5
    assert [one.path for one in again.by_words(TENANT, "/", "lime", 9)] == ["/a"]
    again.close()
    other = Index(path, "jrn_2")
    assert other.mark == 0
    assert other.by_words(TENANT, "/", "lime", 9) == []


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "passages.db"
    filled(path).close()
    path.write_bytes(b"no database at all" * 1000)
    assert Index(path, "jrn_1").mark == 0


def test_what_is_put_again_is_not_found_twice_and_keeps_to_its_folder() -> None:
    index = filled(None)
    index.put([News(TENANT, "/a", Indexed(2, 8, 4), [(0, "lime juice")])])
    index.put([News(TENANT, "/b/c", Indexed(1, 9, 4), [(0, "lime")])])
    found = index.by_words(TENANT, "/", "lime", 9)
    assert sorted((one.path, one.text) for one in found) == [("/a", "lime juice"), ("/b/c", "lime")]
    assert [one.path for one in index.by_words(TENANT, "/b", "lime", 9)] == ["/b/c"]
    assert index.by_words(TENANT, "/", 'lime" OR "x', 9) != []
    assert index.by_words(TENANT, "/", '"*()', 9) == []
    index.put([News(TENANT, "/a", None)])
    assert [one.path for one in index.by_words(TENANT, "/", "lime", 9)] == ["/b/c"]


def test_passages_are_the_whole_text_and_know_where_they_begin() -> None:
    text = "Ein Absatz über Bienen.\n\n" * 200 + "Schluß"
    found = list(passages.cut(text))
    assert "".join(part for _, part in found) == text
    data = text.encode()
    for place, part in found:
        assert data[place:].decode().startswith(part)
    assert max(len(part) for _, part in found) <= 1_000


def test_only_text_is_text() -> None:
    assert passages.text_of("grün".encode(), whole=True) == "grün"
    assert passages.text_of("grün".encode()[:3], whole=False) == "gr"
    assert passages.text_of("grün".encode()[:3], whole=True) is None
    assert passages.text_of(b"\xff\xfe\x00", whole=True) is None
