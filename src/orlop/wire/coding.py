"""Bodies that came compressed (`content-encoding`), unpacked within a bound: a few kilobytes may
stand for gigabytes."""

import zlib
from typing import Final

import zstandard

from orlop.abi.errors import BadCall, TooLarge

KNOWN: Final = ("gzip", "deflate", "zstd")

_WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024
"""What RFC 9659 lets a sender of zstd expect of a reader."""

_MORSEL_BYTES: Final = 1024
"""What is unpacked before the size is looked at again: at most 32 MiB come of that."""

_CUT: Final = "it breaks off"

_GZIP: Final = 31
_ZLIB: Final = 15
_BARE: Final = -15
"""Ways of zlib to frame what it has deflated."""


def unpacked(coding: str, body: bytes, limit: int) -> bytes:
    """The body itself.  coding: as the header says, empty for none.

    Raises `TooLarge` where that has more than `limit` bytes, `BadCall` where it can't be had.
    """
    coding = coding.strip().lower().removeprefix("x-")
    if coding in ("", "identity"):
        return body
    try:
        match coding:
            case "gzip":
                whole = _inflated(body, _GZIP, limit)
            case "deflate":
                whole = _deflated(body, limit)
            case "zstd":
                whole = _zstd(body, limit)
            case _:
                raise BadCall(f"content-encoding {coding[:40]!r}: send {', '.join(KNOWN)}, or none")
    except (zlib.error, zstandard.ZstdError) as error:
        raise BadCall(f"the body is not {coding}, as its header says: {error}") from error
    if len(whole) > limit:
        raise TooLarge(f"the body has more than {limit} bytes when it is unpacked")
    return whole


def _deflated(body: bytes, limit: int) -> bytes:
    """The standard means zlib's frame by it; some senders leave the frame out."""
    try:
        return _inflated(body, _ZLIB, limit)
    except zlib.error:
        return _inflated(body, _BARE, limit)


def _inflated(body: bytes, frame: int, limit: int) -> bytes:
    """At most one byte more than `limit`.  A file of gzip may consist of several."""
    whole = b""
    while body and len(whole) <= limit:
        stream = zlib.decompressobj(frame)
        whole += stream.decompress(body, limit + 1 - len(whole))
        if not stream.eof and len(whole) <= limit:
            raise zlib.error(_CUT)
        if stream.unused_data and frame != _GZIP:
            raise zlib.error("something comes after its end")
        body = stream.unused_data
    return whole


def _zstd(body: bytes, limit: int) -> bytes:
    """Likewise; it may consist of several frames."""
    pieces: list[bytes] = []
    size = at = 0
    stream = None
    while at < len(body) and size <= limit:
        if stream is None:
            reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
            stream = reader.decompressobj()
        given = body[at : at + _MORSEL_BYTES]
        piece = stream.decompress(given)
        at += len(given) - len(stream.unused_data)
        pieces.append(piece)
        size += len(piece)
        if stream.eof:
            stream = None
    if stream is not None and size <= limit:
        raise zlib.error(_CUT)
    return b"".join(pieces)
