"""Server-sent events, both halves (WHATWG HTML, section 9.2: server-sent events)."""

from msgspec import Struct

from orlop.abi.errors import TooLarge
from orlop.abi.limits import BODY_BYTES_MAX

COMMENT = b": \n\n"
"""Says nothing; keeps a connection open."""


class ServerEvent(Struct, frozen=True):
    """`name` is `message` where the stream gives none."""

    data: bytes
    name: str = "message"


def write(data: bytes, name: str = "") -> bytes:
    """One event.  `data` has no line breaks, as JSON has none unless it is indented."""
    if name:
        return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
    return b"data: %s\n\n" % data


class Reader:
    """Bytes in, in any pieces; events out.  An event whose blank line never came is dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._name = ""
        self._is_first = True

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Raises `TooLarge` where one line is longer than a body may be."""
        lines = (self._rest + data).splitlines(keepends=True)
        self._rest = b""
        # A last line without its end waits for the rest; so does one that may end in \r\n.
        if lines and not lines[-1].endswith(b"\n"):
            self._rest = lines.pop()
            if len(self._rest) > BODY_BYTES_MAX:
                raise TooLarge(f"a line of the stream is longer than {BODY_BYTES_MAX} bytes")
        events: list[ServerEvent] = []
        for line in lines:
            self._take(line.rstrip(b"\r\n"), events)
        return events

    def _take(self, line: bytes, events: list[ServerEvent]) -> None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self._data:
                events.append(ServerEvent(b"\n".join(self._data), self._name or "message"))
                self._data = []
            self._name = ""
            return
        field, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
