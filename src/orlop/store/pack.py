"""Making bodies small before they are sealed: raw deflate, primed with what our JSON looks like.

The first byte says how a body is packed, so old journals are read for ever: a dictionary is never
changed, only followed by another one under the next number.
"""

import zlib
from typing import Final

from orlop.abi.errors import JournalDamaged

_AS_IS: Final = b"\x00"
_DEFLATED: Final = b"\x01"

_WORTH_BYTES: Final = 160
"""Less than this gains little and costs the same few microseconds."""

_SMALL_BYTES: Final = 4096
"""Up to here a small window finds as much, and is set up five times as fast."""

_DICTIONARY: Final = (
    b'{"role":"user","content":[{"type":"text","text":"{"role":"assistant","content":[{"type":'
    b'"text","text":"{"role":"tool","tool_use_id":"call_","content":"{"role":"system","content":"'
    b'{"kind":"process.started","incarnation":1,"mode":"first"}'
    b'{"kind":"call.failed","code":"E","message":"'
    b'{"kind":"call.entered","incarnation":1,"body":{"type":"call_tool","tool":"","arguments":{"'
    b'{"kind":"call.entered","incarnation":1,"body":{"type":"infer","model":"","tools":[{"name":"",'
    b'"description":"","parameters":{"type":"object","properties":{"}}],"output_tokens_max":'
    b',"sampling":{"temperature":0.0,"seed":,"stop":[]},"dialect":"openai","stream":true},'
    b'"context":{"digest":"","new":["","parent_seq":,"reply":true}}'
    b'{"kind":"call.returned","done":{"type":"completion","choices":[{"message":{"role":'
    b'"assistant","tool_uses":[{"id":"call_","name":"","arguments":"{"}]},"finish":"stop",'
    b'"index":0}],"usage":{"tokens_in":,"tokens_out":,"tokens_cached":},"model":"","created_s":17,'
    b'"facts":{"engine":"","model":"","queue_s":0.00,"prefill_s":0.0,"decode_s":0.,"seq":,'
    b'"cost_nano":0}},"messages":["","chunks":[['
)


def pack(plain: bytes) -> bytes:
    if len(plain) < _WORTH_BYTES:
        return _AS_IS + plain
    window, memory = (-12, 5) if len(plain) <= _SMALL_BYTES else (-15, 8)
    squeeze = zlib.compressobj(
        1, zlib.DEFLATED, window, memory, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY
    )
    packed = squeeze.compress(plain) + squeeze.flush()
    return _DEFLATED + packed if len(packed) < len(plain) else _AS_IS + plain


def unpack(packed: bytes) -> bytes:
    """`JournalDamaged` where these bytes were not packed here."""
    kind = packed[:1]
    if kind == _AS_IS:
        return packed[1:]
    if kind != _DEFLATED:
        raise JournalDamaged(f"a body is packed in way {kind.hex() or 'none'}, which is not known")
    try:
        return zlib.decompressobj(-15, _DICTIONARY).decompress(packed[1:])
    except zlib.error as error:
        raise JournalDamaged("a body does not unpack") from error
