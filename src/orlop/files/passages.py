"""Text as passages: stretches that are found by a search, cut where a reader would."""

from collections.abc import Iterator

from orlop.abi.limits import FILE_PASSAGE_CHARS


def text_of(data: bytes, *, whole: bool) -> str | None:
    """None where it is no text.  whole: there is no more of it; else a letter may be cut off."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 3:
            return None
        return data[: error.start].decode()


def cut(text: str) -> Iterator[tuple[int, str]]:
    """Each with its place, in bytes.  Ends are at a paragraph's, a line's, or a word's."""
    start = place = 0
    while start < len(text):
        end = _end(text, start)
        stretch = text[start:end]
        if stretch.strip():
            yield place, stretch
        place += len(stretch.encode())
        start = end


def _end(text: str, start: int) -> int:
    last = start + FILE_PASSAGE_CHARS
    if last >= len(text):
        return len(text)
    for mark in ("\n\n", "\n", ". ", " "):
        found = text.rfind(mark, start + FILE_PASSAGE_CHARS // 2, last)
        if found >= 0:
            return found + len(mark)
    return last
