"""Rules that say where a process may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.egress import is_here, read_rule, split_host
from orlop.abi.errors import BadCall
from orlop.effects.web import require_outside


@pytest.mark.parametrize(
    ("rule", "host", "port", "fits"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "www.example.com", 443, False),
        ("example.com:443", "example.com", 80, False),
        ("*.example.com", "www.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "evilexample.com", 443, False),
        ("*", "example.com", 443, True),
        ("*", "127.0.0.1", 7411, False),
        ("*", "169.254.169.254", 80, False),
        ("*", "localhost", 80, False),
        ("*", "a.localhost", 80, False),
        ("127.0.0.1:8000", "127.0.0.1", 8000, True),
        ("[::1]:8000", "::1", 8000, True),
        ("EXAMPLE.com.", "example.com", 1, True),
    ],
)
def test_a_rule_fits_what_it_names_and_a_star_never_this_machine(
    rule: str, host: str, port: int, fits: bool
) -> None:
    assert read_rule(rule).fits(host, port) is fits


@pytest.mark.parametrize("wrong", ["", "=pure", "a b", "x:0", "x:99999", "a*b.com", "h=sometimes"])
def test_a_rule_that_can_not_be_read_says_so(wrong: str) -> None:
    with pytest.raises(BadCall):
        read_rule(wrong)


@pytest.mark.parametrize(
    ("rule", "method", "effect"),
    [
        ("h", "GET", "pure"),
        ("h", "POST", "irreversible"),
        ("h=idempotent", "PUT", "idempotent"),
        ("h=idempotent", "HEAD", "pure"),
        ("h=pure", "POST", "pure"),
    ],
)
def test_what_a_second_sending_would_do_follows_from_method_and_rule(
    rule: str, method: str, effect: str
) -> None:
    assert read_rule(rule).effect(method) == effect


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_a_host(text: str) -> None:
    try:
        host, port = split_host(text)
    except BadCall:
        return
    assert port is None or 0 < port < 65_536
    is_here(host)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0"])
def test_a_name_is_never_led_back_to_this_machine(address: str) -> None:
    with pytest.raises(OSError, match="this machine"):
        require_outside("innocent.example", address)


def test_an_address_that_is_named_is_meant() -> None:
    require_outside("127.0.0.1", "127.0.0.1")
    require_outside("example.com", "93.184.216.34")
