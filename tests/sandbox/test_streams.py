"""Answers that stream: passed on piece by piece as they come, recorded with their pieces."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from https_server import HOST, Outside, outside
from live_kernel import LiveKernel, live_kernel
from live_sandbox import needs_sandbox, python, ran

from orlop.abi.egress import Begun, Fetch, Onward
from orlop.abi.limits import FETCH_CHUNKS_MAX
from orlop.effects.web import Web, boundaries

pytestmark = needs_sandbox

READS = """
import http.client, os, ssl, sys, urllib.parse, urllib.request
url, path = sys.argv[1:3]
def released():
    urllib.request.urlopen(url + "/release", timeout=15).read()
with urllib.request.urlopen(url + path, timeout=15) as answer:
    print(answer.status, answer.headers["content-type"])
    print(answer.read1(), flush=True)
    released()  # The server's next piece waits for this: whoever is given all at once never asks.
    try:
        print(answer.read())
    except http.client.IncompleteRead as cut:
        print("cut after", cut.partial)
"""

HTTPX = """
import sys, httpx
with httpx.stream("GET", sys.argv[1] + "/stream", timeout=15) as answer:
    lines = answer.iter_lines()
    print(next(lines))
    httpx.get(sys.argv[1] + "/release", timeout=15)
    print([line for line in lines if line])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with outside(tmp_path_factory.mktemp("outside")) as found:
        yield found


@pytest.fixture(scope="module")
def kernel(server: Outside) -> Iterator[LiveKernel]:
    with live_kernel(f'[egress]\ncertificates = "{server.authority}"\n') as running:
        yield running


def test_a_stream_reaches_its_program_as_it_comes_and_is_replayed_alike(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    net = ("--sandbox", "--net", f"{HOST}:{server.port}", "--name", "reader")
    done = ran(kernel, tmp_path, *net, *python(READS, server.url, "/stream"))
    assert done.stdout.splitlines() == [
        "200 text/event-stream; charset=utf-8",
        "b'data: one\\n\\n'",
        "b'data: two\\n\\n'",
    ], done.stdout + done.stderr
    asked = len(server.seen)
    assert "2 calls came from the record" in kernel.orlop("replay", "reader")
    assert kernel.orlop("logs", "reader") == done.stdout  # In the same pieces.
    assert len(server.seen) == asked, "a replay asks nobody"


def test_a_stream_that_is_cut_off_is_no_whole_answer(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    net = ("--sandbox", "--net", f"{HOST}:{server.port}", "--name", "cut")
    done = ran(kernel, tmp_path, *net, *python(READS, server.url, "/stream/cut"))
    assert "cut after b'data: two\\n\\n'" in done.stdout, done.stdout + done.stderr


def test_unchanged_clients_read_streams(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    net = ("--sandbox", "--net", f"{HOST}:{server.port}", "--name", "httpx")
    done = ran(kernel, tmp_path, *net, *python(HTTPX, server.url))
    assert done.stdout.splitlines() == ["data: one", "['data: two']"], done.stdout + done.stderr


def test_the_pieces_of_a_stream_are_told_with_their_boundaries(server: Outside) -> None:
    async def scenario() -> None:
        web, told = Web(str(server.authority)), list[Onward]()

        def onward(piece: Onward) -> None:
            told.append(piece)
            if piece == b"data: one\n\n":
                asyncio.ensure_future(web.fetch(asked("/release"), "", 10))  # noqa: RUF006

        said = await web.fetch(asked("/stream"), "", 10, onward)
        plain = await web.fetch(asked("/plain"), "", 10, onward)
        await web.close()
        assert isinstance(told[0], Begun) and told[0].status == 200
        pieces = [piece for piece in told if isinstance(piece, bytes)]
        assert tuple(map(len, pieces)) == said.chunks and b"".join(pieces) == said.body
        assert said.chunks[0] == len(b"data: one\n\n") and sum(said.chunks) == 22
        assert plain.chunks == () and plain.body.startswith(b"answer")

    def asked(path: str) -> Fetch:
        return Fetch(method="GET", url=server.url + path)

    asyncio.run(scenario())


def test_boundaries_have_a_bound() -> None:
    lengths = boundaries([b"x"] * (FETCH_CHUNKS_MAX + 5))
    assert len(lengths) == FETCH_CHUNKS_MAX + 1 and lengths[-1] == 5
