"""Secrets do not get into logs, nor out of the kernel in the words of an error.

Whoever reads a secret says so (`hide`); it is replaced wherever a line is written, with whatever
else looks like a key.  One list for the process: a secret is one wherever it turns up.
"""

import logging
from collections.abc import Mapping
from typing import Final

from orlop.abi import secret_words
from orlop.abi.errors import KernelError

HIDDEN: Final = "[secret]"

CHARS_MIN: Final = 6
"""Shorter ones are words of everyday texts."""

FIELDS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
"""HTTP fields that hold secrets whatever they are called."""

_secrets: Final[set[str]] = set()


def hide(secret: str) -> str:
    """`secret`, which no log will show from here on."""
    if len(secret) >= CHARS_MIN:
        _secrets.add(secret)
    return secret


def hide_named(values: Mapping[str, str]) -> None:
    """Of environment variables or HTTP fields, those that hold secrets by their names."""
    for name, value in values.items():
        if secret_words.is_secret_name(name.replace("-", "_")) or name.lower() in FIELDS:
            hide(value)
            hide(value.rpartition(" ")[2])


def shown(values: Mapping[str, str]) -> dict[str, str]:
    """The same for people to look at: names, and what is no secret."""
    return {
        name: HIDDEN if secret_words.is_secret_name(name) else redacted(value)
        for name, value in values.items()
    }


def without_secrets(text: str) -> str:
    """The text without those that are known."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def redacted(text: str) -> str:
    """The text without those that are known, and without what looks like one."""
    text = without_secrets(text)
    for finding in reversed(list(secret_words.found(text))):
        text = text[: finding.start] + HIDDEN + text[finding.end :]
    return text


def clean(error: KernelError) -> KernelError:
    """An error on its way to a caller: a device may have told its own key back."""
    said = without_secrets(error.message)
    if said != error.message:
        error.message, error.args = said, (said,)
    return error


class Formatter(logging.Formatter):
    """Whole lines, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def keep_out_of_logs(form: str) -> None:
    """From here on, every handler of the root logger writes in that form, without secrets."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Formatter(form))
