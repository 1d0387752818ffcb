"""What a caller hears of his call beside the answer."""

from orlop.abi.hints import Facts
from orlop.abi.ids import CallId
from orlop.http.replies import fact_headers

CALL = CallId("cal_1")


def test_all_that_a_call_waited_for_is_in_its_timing() -> None:
    facts = Facts(call=CALL, load_s=2.5, queue_s=0.25, prefill_s=0.125, decode_s=1.0)
    headers = dict(fact_headers(facts))
    expected = "load;dur=2500.0, queue;dur=250.0, prefill;dur=125.0, decode;dur=1000.0"
    assert headers["server-timing"] == expected


def test_what_took_no_time_is_not_named() -> None:
    assert "server-timing" not in dict(fact_headers(Facts(call=CALL)))
