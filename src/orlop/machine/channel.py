"""A single-reader stream: how replies travel up.

Invariants: 1. items come out in the order they went in; 2. after `close` nothing goes in;
3. a reader that waits is woken by the next `put_nowait` or `close`.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from orlop.abi.errors import Broken

T = TypeVar("T")


class Channel(Generic[T]):
    """`put_nowait` never waits: whoever puts items bounds their number, and `limit` checks it."""

    __slots__ = ("_closed", "_error", "_items", "_limit", "_waiter")

    def __init__(self, limit: int) -> None:
        self._items: deque[T] | None = None  # Made by the first item: most of a call is waiting.
        self._limit = limit
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._error: Exception | None = None

    def put_nowait(self, item: T) -> None:
        if self._closed:
            return  # The reader has left; what is not read is not owed.
        if self._items is None:
            self._items = deque()
        elif len(self._items) >= self._limit:
            raise Broken(f"more than {self._limit} unread replies on one call")
        self._items.append(item)
        self._wake()

    def close(self, error: Exception | None = None) -> None:
        if not self._closed:
            self._closed = True
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> "Channel[T]":
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()
