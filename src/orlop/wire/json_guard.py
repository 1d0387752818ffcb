"""The only way JSON from outside comes in: an object of bounded size and depth, or `BadCall`."""

import re
from typing import Final

import msgspec

from orlop.abi.errors import BadCall, TooLarge
from orlop.abi.limits import BODY_BYTES_MAX, JSON_DEPTH_MAX

_decoder: Final = msgspec.json.Decoder(dict[str, object])

_HALF_A_PAIR: Final = re.compile(rb"\\u[dD][89a-bA-B][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
"""A surrogate without its second half, which is no character."""


def decode(body: bytes) -> dict[str, object]:
    """A JSON object's fields.  Raises `BadCall` or `TooLarge`, never anything else."""
    _check_size(body)
    try:
        value = _decoder.decode(body)
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise BadCall(f"the body is not UTF-8: {error.reason}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadCall(f"the body is not a JSON object: {why(error, body)}") from error
    # Counting brackets is far cheaper than walking, and settles nearly all small bodies.
    if body.count(b"[") + body.count(b"{") > JSON_DEPTH_MAX and _is_deeper(value, JSON_DEPTH_MAX):
        raise _too_deep()
    return value


def check(body: bytes) -> None:
    """For a body that is then decoded into a type of its own: size, encoding and depth are sane."""
    _check_size(body)
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadCall(f"the body is not UTF-8: {error.reason}") from error
    if body.count(b"[") + body.count(b"{") > JSON_DEPTH_MAX:
        decode(body)


def why(error: Exception, body: bytes) -> str:
    """What the decoder says, where it is true: it calls two other mistakes truncated data."""
    if not body.strip():
        return "it is empty"
    if "truncated" in str(error) and (half := _HALF_A_PAIR.search(body)):
        return f"`{half[0].decode()}` at byte {half.start()} is half of a surrogate pair"
    return str(error)


def _check_size(body: bytes) -> None:
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge(f"the body has {len(body)} bytes; BODY_BYTES_MAX is {BODY_BYTES_MAX}")


def _too_deep() -> BadCall:
    return BadCall(f"the body is nested more than JSON_DEPTH_MAX = {JSON_DEPTH_MAX} deep")


def _is_deeper(value: object, limit: int) -> bool:
    """Level by level, so that no depth can exhaust our own stack."""
    level: list[object] = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else _items(node))
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _items(node: object) -> list[object]:
    return node if isinstance(node, list) else []
