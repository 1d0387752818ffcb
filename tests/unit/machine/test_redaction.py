"""Secrets do not get into logs and errors."""

import io
import logging
from collections.abc import Iterator

import pytest

from orlop.abi.errors import DeviceFailed
from orlop.machine import redaction

SECRET = "a-secret-that-only-this-test-has"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger whose lines are written as the kernel's are."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(redaction.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("orlop.test.redaction")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, written
    logger.removeHandler(handler)


def test_a_known_secret_is_in_no_line_of_the_log(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, written = log
    redaction.hide(SECRET)
    logger.warning("called with %s", {"authorization": f"Bearer {SECRET}"})
    assert SECRET not in written.getvalue()
    assert "[secret]" in written.getvalue()


def test_nor_in_a_traceback(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    redaction.hide(SECRET)
    try:
        raise ValueError(f"{SECRET} is wrong")
    except ValueError:
        logger.exception("a bug")
    assert "ValueError" in written.getvalue()
    assert SECRET not in written.getvalue()


@pytest.mark.parametrize(
    "key",
    [
        "sk-" + "ant-api03-" + "aB3" * 12,
        "orlo" + "_" + "0a" * 32,
        "orlp" + "_b" + "aB3_" * 40,
        "ghp" + "_" + "aB3" * 12,
    ],
)
def test_what_looks_like_a_key_is_not_shown_although_nobody_knows_it(
    key: str, log: tuple[logging.Logger, io.StringIO]
) -> None:
    logger, written = log
    logger.warning("given %s and %s", key, key)
    assert written.getvalue() == "orlop.test.redaction: given [secret] and [secret]\n"


def test_an_error_is_told_without_the_key_that_it_quotes() -> None:
    redaction.hide(SECRET)
    error = redaction.clean(DeviceFailed(f"Incorrect API key provided: {SECRET}."))
    assert error.message == str(error) == "Incorrect API key provided: [secret]."


def test_short_words_are_no_secrets() -> None:
    redaction.hide("yes")
    assert redaction.redacted("yes, they are") == "yes, they are"


def test_what_is_secret_by_its_name_is_hidden() -> None:
    redaction.hide_named({"authorization": "Bearer named-canary-1", "x-api-key": "named-canary-2"})
    redaction.hide_named({"SHOP_TOKEN": "named-canary-3", "COLOUR": "ultramarine"})
    said = redaction.redacted("named-canary-1 named-canary-2 named-canary-3 ultramarine")
    assert said == "[secret] [secret] [secret] ultramarine"


def test_environments_are_shown_without_secrets() -> None:
    given = {"SHOP_TOKEN": "x", "COLOUR": "red", "NOTE": "ghp" + "_" + "aB3" * 12}
    assert redaction.shown(given) == {"SHOP_TOKEN": "[secret]", "COLOUR": "red", "NOTE": "[secret]"}
