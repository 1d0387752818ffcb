"""JSON over HTTP with a vector store: one connection, kept open, that never waits for ever."""

from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

import msgspec

from orlop.abi.errors import DeviceFailed
from orlop.memory.stores.store import ANSWER_S, TAKE_S

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024


class Peer:
    """url: `http(s)://HOST:PORT`; what follows it is put before each path."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = urlsplit(url)
        self._headers = {"Content-Type": "application/json", **headers}
        self._connection: HTTPConnection | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        may_miss: bool = False,
        limit_s: float = TAKE_S,
    ) -> object | None:
        """The answer's JSON (`{}`: there is none); None for a 404 that may be.

        Raises `OSError`, `HTTPException` and `DeviceFailed`.
        """
        sent = None if body is None else msgspec.json.encode(body)
        is_old = self._connection is not None
        try:
            status, answer = self._exchange(method, path, sent, limit_s)
        except (ConnectionError, HTTPException):
            self.close()
            if not is_old:
                raise
            # The server may have closed it while nobody asked.  All that is asked may be repeated.
            status, answer = self._exchange(method, path, sent, limit_s)
        if status == 404 and may_miss:
            return None
        if not 200 <= status < 300:
            said = answer[:200].decode(errors="replace")
            raise DeviceFailed(f"{method} {path} answered {status}: {said}")
        return msgspec.json.decode(answer) if answer else {}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, method: str, path: str, body: bytes | None, limit_s: float
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connected()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(limit_s)
        try:
            self._connection.request(method, self._url.path + path, body, self._headers)
            response = self._connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX + 1)
        except BaseException:
            with suppress(OSError):
                self.close()
            raise
        if len(answer) > ANSWER_BYTES_MAX:
            self.close()
            raise DeviceFailed(f"{method} {path} answered with more than {ANSWER_BYTES_MAX} bytes")
        return response.status, answer

    def _connected(self) -> HTTPConnection:
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        made = kind(self._url.hostname or "", self._url.port, timeout=ANSWER_S)
        made.connect()
        return made


def found(answer: object, *path: str) -> object:
    """What lies at `path` in an answer.  Raises `DeviceFailed` where there is nothing."""
    here = answer
    for step in path:
        if not isinstance(here, dict) or step not in here:
            raise DeviceFailed(f"an answer without {step!r}: {msgspec.json.encode(answer)[:200]!r}")
        here = here[step]
    return here


def each(answer: object, *path: str) -> list[object]:
    """The same, where it is a list."""
    here = found(answer, *path)
    if not isinstance(here, list):
        raise DeviceFailed(f"{path[-1]!r} of an answer is no list: {here!r}"[:200])
    return here
