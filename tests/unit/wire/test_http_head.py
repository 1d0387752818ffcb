"""Heads of requests as the proxy reads them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.errors import BadCall
from orlop.wire import http_head


def head(*lines: str) -> http_head.Head:
    return http_head.read("\r\n".join([*lines, "", ""]).encode())


def test_a_head_is_read_as_it_was_written() -> None:
    found = head("POST /a?b HTTP/1.1", "Host: x", "Content-Length: 3", "X-Y:  z ")
    assert (found.method, found.target, found.length) == ("POST", "/a?b", 3)
    assert found.first("x-y") == "z"
    assert found.keeps_open


@pytest.mark.parametrize(
    "lines",
    [
        ("GET /",),
        ("GET / HTTP/2",),
        ("GET / HTTP/1.1", "no colon"),
        ("GET / HTTP/1.1", "name : x"),
        ("GET / HTTP/1.1", " folded: x"),
        ("POST / HTTP/1.1", "content-length: 1", "content-length: 2"),
        ("POST / HTTP/1.1", "content-length: 1", "transfer-encoding: chunked"),
        ("POST / HTTP/1.1", "transfer-encoding: gzip"),
        ("POST / HTTP/1.1", "content-length: +1"),
        ("POST / HTTP/1.1", "content-length: 1e9"),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_read_at_all(lines: tuple[str, ...]) -> None:
    with pytest.raises(BadCall):
        head(*lines)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(junk: bytes) -> None:
    with contextlib.suppress(BadCall):
        http_head.read(junk + http_head.HEAD_END)


@given(st.binary(max_size=20))
def test_no_chunk_size_breaks_the_reader(junk: bytes) -> None:
    with contextlib.suppress(BadCall):
        assert 0 <= http_head.chunk_size(junk) < 2**32


def test_credentials_and_traces_are_carried_and_the_rest_is_meant_in_one_order() -> None:
    names = ("stripe-version", "authorization", "accept", "cookie", "x-api-key", "traceparent")
    meant, carried = http_head.divided(tuple((name, "1") for name in names))
    assert [name for name, _ in meant] == ["accept", "stripe-version"]
    assert {name for name, _ in carried} == {"authorization", "cookie", "x-api-key", "traceparent"}
