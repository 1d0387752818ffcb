"""The connections to a server, against servers that do as they like."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import ParamSpec, TypeAlias

import pytest
from https_server import outside
from hypothesis import given
from hypothesis import strategies as st
from patience import until
from yarl import URL

from orlop.abi.errors import DeviceFailed, Misconfigured
from orlop.abi.ids import EngineName
from orlop.abi.limits import ENGINE_RETRIES_MAX, HEADERS_BYTES_MAX
from orlop.devices.line import UNREAD_BYTES_MAX, Answer, Line, Lost
from orlop.devices.lines import Lines, trusted
from orlop.devices.server import Server
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"

P = ParamSpec("P")


def awaited(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """A test that waits, as pytest calls it."""

    @wraps(test)
    def run(*given: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*given, **named))

    return run


Turn: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(*answers: bytes, ends: bool = False) -> Turn:
    """One answer to each order; `ends`: then it closes the connection."""

    async def turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        if ends:
            writer.close()

    return turn


class Told:
    def __init__(self, lines: Lines, url: URL) -> None:
        self.lines = lines
        self.url = url
        self.connections = 0
        self.lost = 0

    async def ask(self, path: str = "/", body: bytes | None = None) -> Answer:
        return await self.lines.ask(
            "GET" if body is None else "POST", self.url.with_path(path), body
        )

    async def text(self, limit: int = 1_000_000) -> bytes:
        async with await self.ask() as answer:
            return await answer.read(limit)


@asynccontextmanager
async def server(*turns: Turn, host: str = "127.0.0.1") -> AsyncGenerator[Told]:
    """Each connection takes the next turn; the last one is repeated."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = turns[min(told.connections, len(turns) - 1)]
        told.connections += 1
        try:
            await turn(reader, writer)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            told.lost += 1
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    url = URL(f"http://{host}:{port}/v1")
    told = Told(Lines(url, {"authorization": "Bearer k"}), url)
    async with listening:
        try:
            yield told
        finally:
            told.lines.close()


@awaited
async def test_a_connection_that_was_heard_to_its_end_is_used_again() -> None:
    async with server(saying(HELLO, HELLO, HELLO)) as told:
        assert [await told.text() for _ in range(3)] == [b"hello"] * 3
        assert told.connections == 1


@awaited
async def test_an_order_is_sent_as_the_standard_has_it() -> None:
    heard: list[bytes] = []

    async def turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4))
        writer.write(HELLO)

    async with server(turn) as told:
        async with await told.ask("/v1/a b", b"body") as answer:
            assert await answer.read(100) == b"hello"
        assert heard == [
            f"POST /v1/a%20b HTTP/1.1\r\nhost: 127.0.0.1:{told.url.port}\r\nuser-agent: orlop\r\n"
            "accept: */*\r\nauthorization: Bearer k\r\ncontent-length: 4\r\n\r\nbody".encode()
        ]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        HELLO + b"and something that nobody has asked for",
        HELLO + HELLO,
    ],
)
@awaited
async def test_a_connection_that_is_not_to_be_trusted_is_not_used_again(answer: bytes) -> None:
    async with server(saying(answer), saying(HELLO)) as told:
        assert await told.text() == b"hello"
        assert await told.text() == b"hello"
        assert told.connections == 2


@awaited
async def test_a_body_may_end_with_its_connection() -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\nhello", ends=True)) as told:
        assert await told.text() == b"hello"


@awaited
async def test_what_comes_before_an_answer_is_not_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with server(saying(early + HELLO, HELLO)) as told:
        async with await told.ask() as answer:
            assert (answer.status, answer.headers) == (200, {"content-length": "5"})
            assert await answer.read(10) == b"hello"
        assert await told.text() == b"hello"
        assert told.connections == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "closed"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "closed"),
        (b"", "closed"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 2 * HEADERS_BYTES_MAX, "HEADERS_BYTES_MAX"),
    ],
)
@awaited
async def test_an_answer_that_breaks_off_or_is_none_is_an_error(answer: bytes, says: str) -> None:
    async with server(saying(answer, ends=True)) as told:
        with pytest.raises(Lost, match=says) as caught:
            await told.text()
        assert not caught.value.unheard


@awaited
async def test_a_server_that_has_closed_a_kept_connection_is_known() -> None:
    async def turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(HELLO)(reader, writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with server(turn) as told:
        assert await told.text() == b"hello"
        with pytest.raises(Lost) as caught:
            await told.text()
        assert caught.value.unheard


@awaited
async def test_a_connection_that_the_server_has_closed_meanwhile_is_left_alone() -> None:
    async with server(saying(HELLO, ends=True)) as told:
        assert await told.text() == b"hello"
        await until(lambda: not told.lines._kept())
        assert await told.text() == b"hello"
        assert told.connections == 2


@awaited
async def test_whoever_leaves_early_ends_the_connection() -> None:
    begun = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello"
    async with server(saying(begun)) as told:
        async with await told.ask() as answer:
            assert await answer.piece() == b"hello"
        await until(lambda: told.lost == 1)


@awaited
async def test_whoever_is_cancelled_while_he_waits_ends_the_connection() -> None:
    async with server(saying(b"")) as told:
        asking = asyncio.create_task(told.ask())
        await until(lambda: told.connections == 1)
        asking.cancel()
        await until(lambda: told.lost == 1)


@awaited
async def test_a_server_waits_for_a_slow_reader_and_the_connection_is_good_afterwards() -> None:
    size = 40 * UNREAD_BYTES_MAX
    sent = 0

    async def turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(40):
            writer.write(bytes(UNREAD_BYTES_MAX))
            await writer.drain()
            sent += UNREAD_BYTES_MAX
        await saying(HELLO)(reader, writer)

    async with server(turn) as told:
        async with await told.ask() as answer:
            await asyncio.sleep(0.2)
            assert sent < size
            assert len(await answer.read(size)) == size
            assert await answer.piece() == b""
        assert await told.text() == b"hello"
        assert told.connections == 1


@awaited
async def test_more_than_was_asked_for_is_not_read() -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(9_000_000))) as told:
        assert 1_000 <= len(await told.text(1_000)) < 2_000_000
        await until(lambda: told.lost == 1)


@awaited
async def test_a_name_with_several_addresses_is_reached_by_the_one_that_answers() -> None:
    async with server(saying(HELLO), host="localhost") as told:
        assert await told.text() == b"hello"


@awaited
async def test_a_server_that_is_not_there_is_said() -> None:
    lines = Lines(URL("http://127.0.0.1:1/"), {})
    with pytest.raises(OSError):
        await lines.ask("GET", URL("http://127.0.0.1:1/"), None)


@awaited
async def test_tls_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with outside(tmp_path) as there:
        url = URL(there.url)
        with pytest.raises(OSError, match=r"(?i)certificate"):
            await Lines(url, {}).ask("GET", url, None)
        monkeypatch.setenv("SSL_CERT_FILE", str(there.authority))
        trusted.cache_clear()
        lines = Lines(url, {})
        for _ in range(2):
            async with await lines.ask("GET", url, None) as answer:
                await answer.read(1_000_000)
                assert answer.status
        lines.close()
    trusted.cache_clear()


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"a\r\nb": "c"}, {"x": "\x00"}])
def test_a_header_that_would_be_two_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        Lines(URL("http://127.0.0.1:1/"), headers)


@given(st.data(), st.sampled_from([True, False]))
def test_it_does_not_matter_where_an_answer_is_cut(data: st.DataObject, chunked: bool) -> None:
    body = data.draw(st.binary(min_size=0, max_size=40))
    if chunked:
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        parts = [body[at : at + 7] for at in range(0, len(body), 7)]
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        wire = head + wire
    else:
        wire = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=8)))
    assert asyncio.run(heard(wire, [0, *cuts, len(wire)])) == (body, 1)


async def heard(wire: bytes, cuts: Sequence[int]) -> tuple[bytes, int]:
    """What comes out, and how often the line was let go."""
    let_go: list[Line] = []
    line = Line(let_go.append, lambda _: None)
    line.connection_made(Still())
    answer = line.ask(b"")
    for start, end in pairwise(cuts):
        line.data_received(wire[start:end])
    return await answer.read(1_000), len(let_go)


class Still(asyncio.Transport):
    """Takes what it is given."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None: ...


@asynccontextmanager
async def engine(answer: bytes, times: int = 1) -> AsyncGenerator[tuple[Server, URL]]:
    async with server(saying(*[answer] * times)) as told:
        clock, chance = SystemClock(), SeededChance(1)
        made = Server(EngineName("far"), told.url, clock=clock, chance=chance, headers={})
        await made.start()
        try:
            yield made, told.url
        finally:
            await made.close()


@awaited
async def test_an_answer_that_came_packed_all_the_same_is_unpacked() -> None:
    body = gzip.compress(b'{"a":1}')
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with engine(head + body) as (made, url):
        response = await made.open("GET", url, None, 1e12)
        assert await made.read(response) == b'{"a":1}'


@awaited
async def test_an_answer_that_can_not_be_unpacked_is_the_engines_fault() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nxx"
    async with engine(head) as (made, url):
        response = await made.open("GET", url, None, 1e12)
        with pytest.raises(DeviceFailed, match="far's answer: content-encoding 'br'"):
            await made.read(response)


@awaited
async def test_a_key_is_not_sent_where_an_answer_points_to() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nlocation: http://elsewhere/v1\r\ncontent-length: 0\r\n\r\n"
    async with engine(moved, 1 + ENGINE_RETRIES_MAX) as (made, url):
        with pytest.raises(DeviceFailed, match="it is at http://elsewhere/v1"):
            await made.open("GET", url, None, 1e12)


PAGE = (
    b"<!DOCTYPE html><html><head><style>p {}</style></head><body>Please <b>log in</b></body></html>"
)


@awaited
async def test_a_page_for_people_is_told_as_what_it_says_and_where_to_look() -> None:
    for kind in (b"text/html", b"application/json"):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
        async with engine(head % (kind, len(PAGE)) + PAGE) as (made, url):
            response = await made.open("GET", url, None, 1e12)
            with pytest.raises(DeviceFailed, match=r"far answered a page.*'Please log in'.*`url`"):
                await made.read(response)


@awaited
async def test_a_page_is_no_stream() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n"
    async with engine(head % len(PAGE) + PAGE) as (made, url):
        response = await made.open("GET", url, None, 1e12)
        with pytest.raises(DeviceFailed, match=r"far answered a page.*'Please log in'"):
            async with response, made.streamed(response) as pieces:
                async for _ in pieces:
                    pass


@awaited
async def test_an_answer_of_no_content_is_the_engine_s_failure() -> None:
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with engine(empty, 1 + ENGINE_RETRIES_MAX) as (made, url):
        with pytest.raises(DeviceFailed, match="far answered 204: nothing"):
            await made.open("GET", url, None, 1e12)


def timers(port: int) -> list[str]:
    """Of connections to `port`: what each one's timer is for; 02 is asking whether it lives."""
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [line[5][:2] for line in lines if line[2].endswith(f":{port:04X}") and line[3] == "01"]


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="Linux tells of its timers")
@awaited
async def test_a_machine_without_power_is_noticed_though_it_closes_no_connection() -> None:
    async with server(saying(HELLO)) as told:
        lines = Lines(told.url, {})
        async with await lines.ask("GET", told.url, None) as answer:
            assert await answer.read(5) == b"hello"
        assert told.url.port
        assert timers(told.url.port) == ["02"]
        lines.close()
