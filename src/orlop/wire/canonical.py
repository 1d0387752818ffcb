"""Canonical JSON (RFC 8785): one spelling of a value, so that its digest means something.

msgspec writes the same bytes as RFC 8785 for most values, many times faster than Python can; the
rest (floats, integers past 2**53, keys that UTF-16 sorts otherwise) goes to the `rfc8785` package.
"""

import re
from typing import Final

import msgspec
import rfc8785

from orlop.abi.errors import BadCall

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder()
_SCALARS: Final = (str, int, bool, type(None))

# A number that msgspec may spell otherwise: a float, or sixteen digits and more (as 2**53 has).
# Inside a string it matches too; that costs time, never correctness.
_NUMBER: Final = re.compile(rb"(?:^|[:\[,])-?(?:\d+[.eE]|\d{16})")

# What has no match of `_NUMBER`, at the speed of C: digits become `0`, and `.eE` become `.`.
_ROUGH: Final = bytes(
    48 if chr(code).isdecimal() else 46 if chr(code) in ".eE" else 32 for code in range(128)
).ljust(256)
_DIGITS: Final = b"0" * 16

# UTF-16, by which RFC 8785 sorts, puts U+10000 and above (F0-F4 in UTF-8) before U+E000 to U+FFFF
# (EE, EF).  Without one of the two, the order by code points is the same.
_ASTRAL: Final = re.compile(rb"[\xf0-\xf4]")
_HIGH: Final = re.compile(rb"[\xee\xef]")


def canonical(value: object) -> bytes:
    """The canonical bytes of a JSON value or a msgspec struct (`Raw` inside is spelled anew).

    `BadCall` where a number has no exact JSON spelling, or a string is not Unicode.
    """
    try:
        encoded = _ENCODER.encode(value)
        if not isinstance(value, _SCALARS):
            # Structs, tuples and raw JSON inside become plain values, whose keys can be sorted.
            plain: object = _DECODER.decode(encoded)
            encoded = _ENCODER.encode(plain)
        else:
            plain = value
        if _may_differ(encoded):
            return _slowly(plain)
    except (UnicodeError, RecursionError, msgspec.MsgspecError) as error:
        raise BadCall(f"this value has no canonical JSON: {error}") from error
    return encoded


def _may_differ(encoded: bytes) -> bool:
    """From what RFC 8785 would write."""
    rough = encoded.translate(_ROUGH)
    # `find`: `in` first tries to read what it is given as a number.
    if (rough.find(b"0.") >= 0 or rough.find(_DIGITS) >= 0) and _NUMBER.search(encoded):
        return True
    if encoded.isascii():
        return False
    return _ASTRAL.search(encoded) is not None and _HIGH.search(encoded) is not None


def _slowly(value: object) -> bytes:
    try:
        # The package wants its own recursive type; what a JSON decoder made is of that type.
        return bytes(rfc8785.dumps(value))  # type: ignore[arg-type]
    except rfc8785.IntegerDomainError:
        # RFC 8785 has no spelling for integers past 2**53, but schemas hold them (int64 bounds):
        # then the whole value is spelled as msgspec does, which is exact and as stable.
        return _ENCODER.encode(value)
    except rfc8785.CanonicalizationError as error:
        raise BadCall(f"this value has no canonical JSON: {error}") from error
