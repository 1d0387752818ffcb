"""One HTTP exchange, raw ASGI underneath: what a route reads, and how it answers.

Also what a route may ask of the kernel: `Door`.
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
    Sequence,
)
from typing import Final, Protocol, TypeAlias
from urllib.parse import parse_qs

from orlop.abi.calls import Call, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import BadCall, Killed, TooLarge
from orlop.abi.ids import DEFAULT_TENANT, CallId, TenantId
from orlop.abi.limits import BODY_BYTES_MAX
from orlop.abi.replies import Completion, Reply
from orlop.access.rights import Narrowing
from orlop.http.bodies import Bodies
from orlop.wire import coding

Event: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Field: TypeAlias = tuple[str, str]


class InFlight(Protocol):
    """A call that has been entered."""

    @property
    def replies(self) -> AsyncIterator[Reply]:
        """Deltas, then exactly one result; raises the `KernelError` that it ended in instead."""
        ...

    @property
    def rung(self) -> str:
        """What it has become where it could not be served as asked; known at the first reply."""
        ...

    @property
    def reply_id(self) -> CallId:
        """What a dialect builds its reply's id from.  A replayed call has its first occurrence's,
        so that the reply is the same to the byte.  Known at the first reply."""
        ...

    def leave(self) -> None:
        """Its client has gone."""
        ...


class Door(Protocol):
    """The kernel as one process sees it."""

    def enter(self, call: Call, *, retry: bool = False) -> InFlight:
        """Raises a `KernelError` where the call is refused; then nothing has changed."""
        ...

    def models(self) -> Sequence[ModelCard]: ...

    async def recorded(self, call: CallId) -> tuple[Infer, Completion]:
        """An earlier call of the same tenant with its messages, and its answer.

        Raises `NotFound` where there is none, or it did not end in an answer.
        """
        ...


class Line:
    """A connection as its exchanges see it: whether the client is there, and who is told if not."""

    __slots__ = ("_watchers", "is_lost")

    def __init__(self) -> None:
        self.is_lost = False
        self._watchers: list[Callable[[], None]] = []

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left` when the client leaves; now, if it has left."""
        if self.is_lost:
            left()
        else:
            self._watchers.append(left)

    def unwatch(self, left: Callable[[], None]) -> None:
        if left in self._watchers:
            self._watchers.remove(left)

    def lose(self) -> None:
        self.is_lost = True
        watchers, self._watchers = self._watchers, []
        for left in watchers:
            left()


class Leaving(Protocol):
    """What ends when its client has gone."""

    def leave(self) -> None: ...


class Watched:
    """A class and no generator, since every call holds one while it waits."""

    __slots__ = ("_calls", "_line")

    def __init__(self, line: Line, calls: Sequence[Leaving]) -> None:
        self._line = line
        self._calls = calls

    def __enter__(self) -> None:
        self._line.watch(self._leave)

    def __exit__(self, *failure: object) -> None:
        self._line.unwatch(self._leave)

    def _leave(self) -> None:
        for call in self._calls:
            call.leave()


LINE: Final = "line"
"""Where an exchange finds its line: in the scope's `state`, which is ASGI's place for ours."""


class Exchange:
    """`door` is set once it is known who is asking; `params` by the route that matched."""

    __slots__ = (
        "_bodies",
        "_headers",
        "_held",
        "_line",
        "_query",
        "_receive",
        "_scope",
        "_send",
        "door",
        "is_house",
        "is_whole",
        "narrowing",
        "params",
        "person",
        "started",
        "tenant",
    )

    def __init__(self, scope: Event, receive: Receive, send: Send, bodies: Bodies) -> None:
        self._scope = scope
        self._bodies = bodies
        self._held = 0
        """What its body takes of those."""
        self._receive = receive
        self._send = send
        headers = scope["headers"]
        assert isinstance(headers, list)
        self._headers: dict[bytes, bytes] = dict(headers)
        headers.clear()  # Nobody else reads them, and a call may wait for hours.
        state = scope["state"]
        assert isinstance(state, Mapping)
        self._line: Line = state[LINE]
        self._query: dict[str, list[str]] | None = None
        self.door: Door | None = None
        self.params: dict[str, str] = {}
        self.person = ""
        """Whose own token came with it; empty: it is no person's."""
        self.tenant: TenantId = DEFAULT_TENANT
        """Within which an operator's order acts; set once it is known who is asking."""
        self.is_house = False
        """An operator of the whole installation asks."""
        self.is_whole = False
        """And he has named no tenant: he means all of them, where that can be meant."""
        self.narrowing: Narrowing | None = None
        """What the caller's token leaves of its process's rights."""
        self.started = False
        """The status line has been sent."""

    # Reading.

    @property
    def method(self) -> str:
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        return str(self._scope["path"])

    def header(self, name: str) -> str:
        """A header's value, or the empty string.  name: in lower case."""
        return self._headers.get(name.encode("latin-1"), b"").decode("latin-1")

    def query(self, name: str, default: str = "") -> str:
        """A field of the query string."""
        if self._query is None:
            text = self._scope["query_string"]
            assert isinstance(text, bytes)
            self._query = parse_qs(text.decode("latin-1"), keep_blank_values=True)
        return self._query.get(name, [default])[-1]

    def number(self, name: str, default: float) -> float:
        """A number in the query string, >= 0.  Raises `BadCall`."""
        text = self.query(name)
        try:
            number = float(text) if text else default
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1e18:
            raise BadCall(f"`{name}` should be a number from 0, not {text!r}")
        return number

    @property
    def is_retry(self) -> bool:
        """The client makes a call again whose answer it lost; the official ones count that."""
        counted = self.header("x-stainless-retry-count") or self.header("orlop-retry")
        return counted.strip("0") != ""

    async def body(self) -> bytes:
        """The whole body, unpacked.  Raises `BadCall` where it can't be, `TooLarge`, `Exhausted`,
        or `Killed` where the client left in the middle."""
        declared = self.header("content-length")
        if declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
            raise TooLarge(f"the body has {declared} bytes; at most {BODY_BYTES_MAX} are read")
        body = await self._received()
        packed = self.header("content-encoding")
        if not packed:
            return body
        body = coding.unpacked(packed, body, BODY_BYTES_MAX)
        self._hold(len(body))
        return body

    def close(self) -> None:
        """It is over: what its body took is free again."""
        self._bodies.give_back(self._held)
        self._held = 0

    def _hold(self, size: int) -> None:
        """Raises `Exhausted`."""
        self._bodies.take(size, self._held)
        self._held += size

    async def _received(self) -> bytes:
        """As it came."""
        pieces: list[bytes] = []
        size = 0
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise Killed("the client left before it had sent its call")
            piece = event.get("body", b"")
            assert isinstance(piece, bytes)
            size += len(piece)
            if size > BODY_BYTES_MAX:
                raise TooLarge(f"the body has more than {BODY_BYTES_MAX} bytes")
            self._hold(len(piece))
            pieces.append(piece)
            if not event.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def stretches(self) -> AsyncIterator[bytes]:
        """The body as it comes.  Raises `Killed` where the client left in the middle."""
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise Killed("the client left before it had sent its file")
            piece = event.get("body", b"")
            assert isinstance(piece, bytes)
            yield piece
            if not event.get("more_body"):
                return

    # Answering.

    async def send(
        self, status: int, body: bytes, kind: str, headers: Iterable[Field] = ()
    ) -> None:
        """A whole answer of media type `kind`."""
        await self._start(
            status, [("content-type", kind), ("content-length", str(len(body))), *headers]
        )
        await self._send({"type": "http.response.body", "body": body})

    async def send_json(self, status: int, body: bytes, headers: Iterable[Field] = ()) -> None:
        await self.send(status, body, "application/json", headers)

    async def start_stream(self, headers: Iterable[Field]) -> None:
        """Status 200, and server-sent events unless the headers name another `content-type`."""
        headers = list(headers)
        if not any(name == "content-type" for name, _ in headers):
            headers += [("content-type", "text/event-stream"), ("cache-control", "no-cache")]
        await self._start(200, headers)

    async def send_chunk(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self, chunk: bytes = b"") -> None:
        """The stream's last piece, if there is one, and its end."""
        await self._send({"type": "http.response.body", "body": chunk})

    @property
    def is_attended(self) -> bool:
        """The client is still there: for answers without an end."""
        return not self._line.is_lost

    def watched(self, *calls: Leaving) -> "Watched":
        """While inside, a client that leaves leaves its calls too."""
        return Watched(self._line, calls)

    async def _start(self, status: int, headers: Iterable[Field]) -> None:
        self.started = True
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})


Route: TypeAlias = Callable[[Exchange], Awaitable[None]]
