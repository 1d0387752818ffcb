"""Server-sent events: written and read in any pieces, with any line ends."""

from hypothesis import given
from hypothesis import strategies as st

from orlop.wire.sse import COMMENT, Reader, ServerEvent, write

lines = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
events = st.lists(
    st.builds(
        ServerEvent, lines.map(str.encode), st.text("abc_.", min_size=1).filter(lambda n: n != "")
    ),
    max_size=5,
)


@given(events, st.sampled_from((b"\n", b"\r\n", b"\r")), st.lists(st.integers(0, 400), max_size=6))
def test_events_come_back_whatever_the_pieces_and_the_line_ends(
    given_events: list[ServerEvent], end: bytes, places: list[int]
) -> None:
    body = COMMENT + b"".join(write(event.data, event.name) for event in given_events)
    # The last line end may be half of one: only the next byte tells, so one comment follows.
    body = (body + COMMENT).replace(b"\n", end) + b":\n"
    cuts = sorted(min(place, len(body)) for place in places)
    reader = Reader()
    read = [
        event
        for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)
        for event in reader.feed(body[a:b])
    ]
    assert read == given_events


@given(events)
def test_an_event_without_its_blank_line_never_happened(given_events: list[ServerEvent]) -> None:
    body = b"".join(write(event.data, event.name) for event in given_events)
    assert Reader().feed(body + b"data: half") == given_events


def test_several_data_lines_are_one_event_and_a_byte_order_mark_is_none() -> None:
    assert Reader().feed(b"\xef\xbb\xbfdata:a\ndata: b\nid: 7\n\n") == [ServerEvent(b"a\nb")]
