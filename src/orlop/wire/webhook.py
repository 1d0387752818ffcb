"""Signed messages over HTTP, as Standard Webhooks have it: three headers around a body.

`webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`; several,
separated by spaces, while a secret is being changed.  Source: standardwebhooks.com, version 1.
"""

import base64
import binascii
import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from orlop.abi.errors import BadCall, Unauthenticated

PREFIX: Final = "whsec_"
ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
ID_CHARS_MAX: Final = 200
SIGNATURES_MAX: Final = 8
SECRET_BYTES_MIN: Final = 24


def secret(text: str) -> bytes:
    """The key in `whsec_<base64>`.  Raises `ValueError` that says what is wrong."""
    try:
        key = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a webhook's secret is `{PREFIX}` and base64: {error}") from error
    if len(key) < SECRET_BYTES_MIN:
        raise ValueError(f"a webhook's secret has at least {SECRET_BYTES_MIN} bytes")
    return key


def sign(key: bytes, id: str, timestamp_s: int, body: bytes) -> str:
    signed = f"{id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()


def headers(key: bytes, id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    return {
        ID: id,
        TIMESTAMP: str(timestamp_s),
        SIGNATURE: sign(key, id, timestamp_s, body),
        "content-type": "application/json",
    }


def verify(
    key: bytes, header: Callable[[str], str], body: bytes, now_s: float, age_s_max: float
) -> str:
    """The message's id.  header: gives a header's value, or an empty string.

    Raises `Unauthenticated` where the signature is wrong, or the message too old or from later.
    """
    id, stamp = header(ID), header(TIMESTAMP)
    if not id or not stamp or not header(SIGNATURE):
        raise Unauthenticated(f"a webhook needs the headers {ID}, {TIMESTAMP} and {SIGNATURE}")
    if len(id) > ID_CHARS_MAX or not id.isprintable():
        raise BadCall(f"{ID}: at most {ID_CHARS_MAX} printable characters")
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12):
        raise Unauthenticated(f"{TIMESTAMP}: seconds since 1970, not {stamp[:40]!r}")
    if abs(now_s - int(stamp)) > age_s_max:
        raise Unauthenticated(f"{TIMESTAMP} is more than {age_s_max:g} s from now: sign it anew")
    wanted = sign(key, id, int(stamp), body).encode()
    for given in header(SIGNATURE).split(" ")[:SIGNATURES_MAX]:
        if hmac.compare_digest(given.encode(), wanted):
            return id
    raise Unauthenticated("the webhook's signature is wrong")
