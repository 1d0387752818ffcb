"""What counts when a call is looked for in the record."""

import pytest

from orlop.context.normal import normal

DATES = [
    "2026-11-21",
    "2026-11-21T10:00:00Z",
    "2026-11-21 10:00:00.123456+01:00",
    "Saturday, November 21, 2026",
    "Sat, 21 Nov 2026 10:00:00 GMT",
    "Nov 21st 2026 at 3:15 PM",
    "11/21/2026, 10:00",
    "1763719200",
    "1763719200123",
    "1763719200.5",
    "10:31:07",
]
IDS = [
    "0196a7c2-31aa-7a8e-9d55-0a6c2f1d9b3e",
    "call_9fK2mQx81LbTzR0v",
    "chatcmpl-AbC123dEf456GhI789",
    "prc_01h455vb4pex5vsknk084sn02q",
    "deadbeefdeadbeef01",
]
KEPT = [
    "order 4711 of 12 May",
    "version 1.2.3",
    "a_long_snake_case_identifier_without_digits",
    "13000000",
    "the ratio is 3:1",
    "deadbeef",
    "12345678901234567890",
]


@pytest.mark.parametrize("text", DATES)
def test_dates_and_times_in_the_usual_forms_do_not_count(text: str) -> None:
    assert normal(f"say {text} now", ("dates",)) == "say <date> now"


@pytest.mark.parametrize("text", IDS)
def test_random_ids_do_not_count(text: str) -> None:
    assert normal(f'{{"id":"{text}"}}', ("ids",)) == '{"id":"<id>"}'


@pytest.mark.parametrize("text", KEPT)
def test_other_words_and_numbers_count(text: str) -> None:
    assert normal(text, ("dates", "ids")) == text


def test_only_what_was_asked_for_is_left_out() -> None:
    text = "2026-11-21 call_9fK2mQx81LbTzR0v"
    assert normal(text, ("dates",)) == "<date> call_9fK2mQx81LbTzR0v"
    assert normal(text, ("ids",)) == "2026-11-21 <id>"
    assert normal(text, ()) == text
