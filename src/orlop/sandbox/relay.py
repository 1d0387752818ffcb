"""From a port inside to a Unix socket of the kernel: the only way out of a cell.

Standard library only.  Bytes are passed on as they are; who may go where is the other end's to say.
"""

import contextlib
import errno
import selectors
import socket
from typing import Final

CHUNK: Final = 65_536
BUFFERED_MAX: Final = 1 << 20
"""Bytes that one direction may keep for a slow reader; then the other end is not read."""

AGAIN: Final = (errno.ECONNREFUSED, errno.ENOENT)
"""The kernel is away; the next one will be here in a moment."""

TRIES: Final = 40
PAUSE_S: Final = 0.1


class Side:
    """One half of a connection: bytes that wait to be written to it."""

    def __init__(self, socket: socket.socket) -> None:
        self.socket = socket
        self.other: Side | None = None
        self.waiting = bytearray()
        self.is_read_out = False
        """It has said all."""


class Relays:
    """All of one cell, in one loop with whatever else that does."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._targets: dict[socket.socket, str] = {}
        self._due: list[tuple[float, socket.socket, str, int]] = []

    def open(self, port: int, target: str) -> int:
        """Listen; the port.  Raises `OSError`."""
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        listener.setblocking(False)
        self._targets[listener] = target
        self._selector.register(listener, selectors.EVENT_READ, listener)
        return int(listener.getsockname()[1])

    def ready(self, what: object, events: int, now_s: float) -> None:
        if isinstance(what, socket.socket):
            with contextlib.suppress(OSError):
                taken, _ = what.accept()
                self._join(taken, self._targets[what], TRIES, now_s)
        elif isinstance(what, Side):
            self._move(what, events)

    def retry(self, now_s: float) -> float | None:
        """Try again what is due; seconds until the next one is."""
        due, self._due = self._due, []
        for when_s, taken, target, left in due:
            if when_s <= now_s:
                self._join(taken, target, left - 1, now_s)
            else:
                self._due.append((when_s, taken, target, left))
        return min((when_s - now_s for when_s, *_ in self._due), default=None)

    def _join(self, taken: socket.socket, target: str, left: int, now_s: float) -> None:
        out = socket.socket(socket.AF_UNIX)
        try:
            out.connect(target)
        except OSError as error:
            out.close()
            if error.errno in AGAIN and left > 0:
                self._due.append((now_s + PAUSE_S, taken, target, left))
            else:
                taken.close()
            return
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near, far = Side(taken), Side(out)
        near.other, far.other = far, near
        for side in (near, far):
            side.socket.setblocking(False)
            self._selector.register(side.socket, selectors.EVENT_READ, side)

    def _move(self, side: Side, events: int) -> None:
        other = side.other
        assert other is not None
        try:
            if events & selectors.EVENT_WRITE and side.waiting:
                del side.waiting[: side.socket.send(side.waiting)]
            if events & selectors.EVENT_READ:
                piece = side.socket.recv(CHUNK)
                side.is_read_out = not piece
                other.waiting += piece
        except BlockingIOError:
            pass
        except OSError:
            self._end(side)
            return
        for one in (side, other):
            assert one.other is not None
            if one.other.is_read_out and not one.waiting:
                with contextlib.suppress(OSError):
                    one.socket.shutdown(socket.SHUT_WR)
        if side.is_read_out and other.is_read_out and not side.waiting and not other.waiting:
            self._end(side)
            return
        self._watch(side)
        self._watch(other)

    def _watch(self, side: Side) -> None:
        assert side.other is not None
        wanted = selectors.EVENT_WRITE if side.waiting else 0
        if not side.is_read_out and len(side.other.waiting) < BUFFERED_MAX:
            wanted |= selectors.EVENT_READ
        known = side.socket in self._selector.get_map()
        if wanted and known:
            self._selector.modify(side.socket, wanted, side)
        elif wanted:
            self._selector.register(side.socket, wanted, side)
        elif known:
            self._selector.unregister(side.socket)

    def _end(self, side: Side) -> None:
        for one in (side, side.other):
            assert one is not None
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(one.socket)
            one.socket.close()
