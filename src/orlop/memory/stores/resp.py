"""One connection to a server that speaks RESP 2, the protocol of Redis."""

import socket
import ssl
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import SplitResult, unquote

from orlop.abi.errors import DeviceFailed

PORT: Final = 6379
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024

Reply: TypeAlias = "int | bytes | list[Reply] | None"


class Line:
    """Raises `OSError` and `DeviceFailed`, and is then to be closed: answers may be under way."""

    def __init__(self, url: SplitResult, key: str, answer_s: float) -> None:
        """url: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, `rediss://` with TLS; key: a password
        that is better than that in the address."""
        host = url.hostname or "localhost"
        stream = socket.create_connection((host, url.port or PORT), timeout=answer_s)
        try:
            if url.scheme == "rediss":
                stream = ssl.create_default_context().wrap_socket(stream, server_hostname=host)
            self._stream = stream
            self._answers = stream.makefile("rb")
            if password := key or unquote(url.password or ""):
                self.all([["AUTH", *filter(None, [unquote(url.username or "")]), password]])
            if database := url.path.strip("/"):
                self.all([["SELECT", database]])
        except BaseException:
            stream.close()
            raise

    def all(self, commands: Sequence[Sequence[str | bytes]]) -> list[Reply]:
        """Their answers.  All are sent before the first is read."""
        self._stream.sendall(b"".join(map(spelt, commands)))
        return [self._reply() for _ in commands]

    def close(self) -> None:
        self._answers.close()
        self._stream.close()

    def _reply(self) -> Reply:
        line = self._answers.readline(ANSWER_BYTES_MAX)
        if not line.endswith(b"\r\n"):
            raise DeviceFailed("the connection was closed in the middle of an answer")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b"-":
                raise DeviceFailed(rest.decode(errors="replace")[:200])
            case b":":
                return int(rest)
            case b"$":
                return self._bytes(int(rest))
            case b"*":
                return [self._reply() for _ in range(int(rest))] if rest != b"-1" else None
            case _:
                raise DeviceFailed(f"not an answer of Redis: {line[:40]!r}")

    def _bytes(self, length: int) -> bytes | None:
        if length < 0:
            return None
        if length > ANSWER_BYTES_MAX:
            raise DeviceFailed(f"an answer of {length} bytes; at most {ANSWER_BYTES_MAX}")
        data = self._answers.read(length + 2)
        if len(data) != length + 2:
            raise DeviceFailed("the connection was closed in the middle of an answer")
        return data[:-2]


def spelt(command: Sequence[str | bytes]) -> bytes:
    words = [word.encode() if isinstance(word, str) else word for word in command]
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word) for word in words
    )
