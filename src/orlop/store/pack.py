"""Making bodies small before they are sealed: zstd, primed with what our JSON looks like.

The first byte says how a body is packed, so old journals are read for ever: a dictionary is never
changed, only followed by another one under the next number.
"""

import threading
import zlib
from pathlib import Path
from typing import Final

import zstandard

from orlop.abi.errors import JournalDamaged

_AS_IS: Final = b"\x00"
_ZSTD: Final = b"\x03"
_DEFLATED: Final = b"\x01"
_ZSTD_1: Final = b"\x02"
"""Until release 0.1."""

_WORTH_BYTES: Final = 64
"""Less than this gains nothing."""

_LEVEL: Final = 2
"""Of text it leaves a twentieth less than 1, and takes as long."""

_DEFLATE_DICTIONARY: Final = (
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


def _dictionary(name: str) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(Path(__file__).with_name(name).read_bytes())


class _Zstd(threading.local):
    """Each thread's own: they are not to be shared.

    The dictionaries were trained on bodies of our own tests and of the demo.  Frames name neither
    the dictionary (the first byte does) nor a checksum (the seal has one).
    """

    first = _dictionary("bodies-1.zdict")
    second = _dictionary("bodies-2.zdict")
    second.precompute_compress(level=_LEVEL)

    def __init__(self) -> None:
        self.packer = zstandard.ZstdCompressor(
            level=_LEVEL, dict_data=self.second, write_checksum=False, write_dict_id=False
        )
        self.unpacker = zstandard.ZstdDecompressor(dict_data=self.second)
        self.unpacker_1 = zstandard.ZstdDecompressor(dict_data=self.first)


_zstd: Final = _Zstd()


def pack(plain: bytes) -> bytes:
    if len(plain) < _WORTH_BYTES:
        return _AS_IS + plain
    packed = _zstd.packer.compress(plain)
    return _ZSTD + packed if len(packed) < len(plain) else _AS_IS + plain


def unpack(packed: bytes) -> bytes:
    """`JournalDamaged` where these bytes were not packed here."""
    kind = packed[:1]
    if kind == _AS_IS:
        return packed[1:]
    try:
        if kind == _ZSTD:
            return _zstd.unpacker.decompress(packed[1:])
        if kind == _ZSTD_1:
            return _zstd.unpacker_1.decompress(packed[1:])
        if kind == _DEFLATED:
            return zlib.decompressobj(-15, _DEFLATE_DICTIONARY).decompress(packed[1:])
    except (zstandard.ZstdError, zlib.error) as error:
        raise JournalDamaged("a body does not unpack") from error
    raise JournalDamaged(f"a body is packed in way {kind.hex() or 'none'}, which is not known")
