"""Bodies that come compressed, and how much all of them together may take."""

import gzip
import time
import zlib
from collections.abc import Callable

import pytest
import zstandard
from exact_client import CALLS, CHAT, MESSAGES, RESPONSES, ask, chat, connect, error_of, raw
from live_kernel import LiveKernel

from orlop.abi.limits import BODY_BYTES_MAX

BODIES_BYTES = 8_000_000
"""As this kernel's `http.bodies_bytes` is set."""

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}
DOORS = (CHAT, "/v1/completions", "/v1/embeddings", RESPONSES, MESSAGES, CALLS)


@pytest.mark.parametrize("coding", PACK)
def test_a_compressed_call_is_answered_as_the_plain_one(kernel: LiveKernel, coding: str) -> None:
    body = chat(text="hello " * 2_000, seed=7)
    packed = PACK[coding](body)
    assert len(packed) < len(body) / 10
    answer = ask(kernel, CHAT, packed, headers={"content-encoding": coding})
    assert answer.status == 200
    assert answer.json()["choices"] == ask(kernel, CHAT, body).json()["choices"]


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("coding", [*PACK, "br"])
def test_a_body_that_is_not_what_its_header_says_is_refused(
    kernel: LiveKernel, path: str, coding: str
) -> None:
    answer = ask(kernel, path, chat(), headers={"content-encoding": coding})
    assert answer.status == 400
    assert error_of(answer, path) == "E1001"
    assert coding.encode() in answer.body


@pytest.mark.parametrize("coding", PACK)
def test_a_small_body_that_stands_for_a_large_one_is_refused(
    kernel: LiveKernel, coding: str
) -> None:
    packed = PACK[coding](bytes(4 * BODY_BYTES_MAX))
    answer = ask(kernel, CHAT, packed, headers={"content-encoding": coding})
    assert answer.status == 413
    assert error_of(answer, CHAT) == "E1002"
    assert ask(kernel, CHAT, chat()).status == 200


def test_one_body_alone_is_not_refused(kernel: LiveKernel) -> None:
    assert ask(kernel, CHAT, chat(text="x" * BODIES_BYTES)).status == 200


def test_what_all_bodies_take_together_is_bounded(kernel: LiveKernel) -> None:
    """Of two that are too large together, the one is refused that comes later to its end."""
    first, second = (chat(text="x" * size) for size in (BODIES_BYTES - 100_000, 200_000))
    refused = None
    for _ in range(20):
        with connect(kernel) as slow:
            slow.sendall(raw(kernel, CHAT, first[:-10], length=len(first)))
            time.sleep(0.1)
            refused = ask(kernel, CHAT, second)
            if refused.status == 200:
                continue
            assert ask(kernel, CHAT, chat()).status == 200
            slow.sendall(first[-10:])
            assert slow.recv(64).startswith(b"HTTP/1.1 200")
            break
    assert refused is not None and refused.status == 429
    assert "http.bodies_bytes" in refused.body.decode()
    assert error_of(refused, CHAT) == "E1301"
    assert refused.headers["retry-after"] == "1"
    assert ask(kernel, CHAT, second).status == 200
