"""Clients that are slow, that leave, that never finish, or that say nothing: all others go on."""

import asyncio
import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Iterator

import psutil
import pytest
from exact_client import (
    CALLS,
    CHAT,
    MESSAGES,
    RESPONSES,
    ask,
    chat,
    connect,
    operator_token,
    raw,
    read_all,
)
from live_kernel import LiveKernel

from orlop.abi.limits import HEADERS_BYTES_MAX

PATIENCE_S = 15.0


def resident_bytes(kernel: LiveKernel) -> int:
    return int(psutil.Process(int(info(kernel, "os_pid"))).memory_info().rss)


def info(kernel: LiveKernel, name: str) -> str:
    answer = ask(kernel, "/orlop/v1/info", token=operator_token(kernel))
    return str(answer.json()[name])


def running(kernel: LiveKernel, model: str) -> int:
    """Calls that hold a slot of the engine called `model`."""
    answer = ask(kernel, "/orlop/v1/inventory", token=operator_token(kernel))
    engines = json.loads(answer.body)["engines"]
    return int(next(engine.get("running", 0) for engine in engines if engine["name"] == model))


def until_running(kernel: LiveKernel, model: str, wanted: int) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while running(kernel, model) != wanted:
        assert time.monotonic() < give_up_s, f"never {wanted} calls on {model}"
        time.sleep(0.02)


@contextlib.contextmanager
def stalled(kernel: LiveKernel, how_many: int) -> Iterator[list[socket.socket]]:
    """Clients that ask for a long stream and read nothing of it."""
    clients = []
    try:
        for _ in range(how_many):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.settimeout(PATIENCE_S)
            client.connect(connect_address(kernel))
            client.sendall(raw(kernel, CHAT, chat("long", stream=True)))
            clients.append(client)
        yield clients
    finally:
        for client in clients:
            client.close()


def connect_address(kernel: LiveKernel) -> tuple[str, int]:
    with connect(kernel) as probe:
        host, port = probe.getpeername()
        return str(host), int(port)


def test_readers_that_stall_slow_nobody_and_are_let_go(kernel: LiveKernel) -> None:
    ask(kernel, CHAT, chat())
    before = resident_bytes(kernel)
    with stalled(kernel, 4) as clients:
        until_running(kernel, "long", 0)  # The engine has not waited for them.
        for _ in range(20):
            assert ask(kernel, CHAT, chat()).status == 200
        assert resident_bytes(kernel) - before < 256 * 1024 * 1024
        # After `http.stall_s` each is cut off, so what they read ends without the stream's end.
        time.sleep(3.0)
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                assert b"[DONE]" not in read_all(client)


MUCH = b"a" * 16 * 1024
UNENDING = {
    "header": b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ",
    "path": b"GET /",
    "trailer": b"1\r\n{\r\n0\r\nx: ",
}


@pytest.mark.parametrize("where", UNENDING)
def test_what_is_no_body_and_does_not_end_fills_no_memory(kernel: LiveKernel, where: str) -> None:
    begin = UNENDING[where]
    if where == "trailer":
        begin = chunked(kernel) + begin
    with connect(kernel) as client:
        client.sendall(begin)
        for _ in range(8 * HEADERS_BYTES_MAX // len(MUCH)):
            client.sendall(MUCH)
            if select.select([client], [], [], 0.01)[0]:
                break
        assert client.recv(12) == b"HTTP/1.1 431"
    assert ask(kernel, CHAT, chat()).status == 200


def chunked(kernel: LiveKernel) -> bytes:
    """The head of a call whose body comes in chunks."""
    return raw(kernel, CHAT, b"").replace(b"content-length: 0", b"transfer-encoding: chunked")


def test_a_body_of_many_small_chunks_is_read(kernel: LiveKernel) -> None:
    body = chat(text="x" * 200_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with connect(kernel) as client:
        client.sendall(chunked(kernel) + chunks + b"0\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.1 200")


LEAVERS = {
    CHAT: chat("hanging"),
    f"{CHAT} streamed": chat("hanging", stream=True),
    RESPONSES: b'{"model": "hanging", "input": "x"}',
    MESSAGES: chat("hanging", max_tokens=5),
    CALLS: b'{"type": "infer", "model": "hanging", "messages": [{"role": "user", "content": "x"}]}',
    "/v1/completions": b'{"model": "hanging", "prompt": ["x", "y"]}',
}


@pytest.mark.parametrize("path", LEAVERS)
def test_a_client_that_leaves_before_the_first_byte_frees_the_engine(
    kernel: LiveKernel, path: str
) -> None:
    client = connect(kernel)
    client.sendall(raw(kernel, path.split()[0], LEAVERS[path]))
    until_running(kernel, "hanging", 2 if path == "/v1/completions" else 1)
    client.close()
    until_running(kernel, "hanging", 0)


def test_a_client_that_leaves_in_the_middle_of_a_stream_frees_the_engine(
    kernel: LiveKernel,
) -> None:
    client = connect(kernel)
    call = raw(kernel, CHAT, chat("slow", stream=True))
    client.sendall(call.replace(b"content-type:", b"orlop-process: leaver\r\ncontent-type:", 1))
    while b"delta" not in client.recv(4_096):
        pass
    assert running(kernel, "slow") == 1
    client.close()
    until_running(kernel, "slow", 0)
    calls = json.loads(kernel.orlop("trace", "leaver", "--json"))["calls"]
    assert any(call["status"] == "E1402" for call in calls)


def test_a_client_that_leaves_in_the_middle_of_its_call_is_forgotten(kernel: LiveKernel) -> None:
    for _ in range(20):
        with connect(kernel) as client:
            client.sendall(raw(kernel, CHAT, b'{"model": "fa', length=1_000))
    assert ask(kernel, CHAT, chat()).status == 200


NEVER = {
    "nothing": b"",
    "half a line": b"POST /v1/chat/comp",
    "half a head": b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n",
    "no body": b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n",
    "half a body": b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{",
}


@pytest.mark.parametrize("said", NEVER.values(), ids=NEVER.keys())
def test_a_call_that_never_arrives_is_given_up(kernel: LiveKernel, said: bytes) -> None:
    """`http.receive_s` is 2 s here.  (The last two get their 401 at once, without a body.)"""
    with connect(kernel) as client:
        client.sendall(said)
        answer = read_all(client)
    assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 401 "))


def test_a_body_that_trickles_is_given_up_too(kernel: LiveKernel) -> None:
    with connect(kernel) as client:
        client.sendall(raw(kernel, CHAT, b"{", length=1_000))
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                client.sendall(b" ")
                time.sleep(0.05)
            answer = read_all(client)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
    assert ask(kernel, CHAT, chat()).status == 200


def test_a_body_in_chunks_may_not_be_too_large_either(kernel: LiveKernel) -> None:
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {kernel.key}\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    )
    piece = b"%x\r\n%b\r\n" % (1024 * 1024, b"x" * 1024 * 1024)
    with connect(kernel) as client:
        client.sendall(head.encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(34):
                client.sendall(piece)
        assert client.recv(65_536).startswith(b"HTTP/1.1 413 ")


GARBAGE = {
    "bytes": os.urandom(4_096),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a bad method": b"DROP TABLE HTTP/1.1\r\n\r\n",
    "a bad length": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "a length and chunks": b"POST / HTTP/1.1\r\ncontent-length: 1\r\n"
    b"transfer-encoding: chunked\r\n\r\nzz",
    "a URL that is none": b"GET \xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "an authority": b"CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a head without end": b"GET / HTTP/1.1\r\n" + b"x-a: " + b"a" * 200_000,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_not_http_is_answered_with_a_client_error(kernel: LiveKernel, said: bytes) -> None:
    with connect(kernel) as client:
        answer = b""
        with contextlib.suppress(OSError):  # The kernel has hung up, at whatever moment.
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert ask(kernel, CHAT, chat()).status == 200


def test_garbage_behind_a_call_does_not_reach_the_next(kernel: LiveKernel) -> None:
    with connect(kernel) as client:
        client.sendall(raw(kernel, CHAT, chat()) + b"garbage garbage\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            answer = read_all(client)
            assert answer.count(b"HTTP/1.1 200 ") <= 1
    assert ask(kernel, CHAT, chat()).status == 200


def test_pipelined_calls_are_answered_in_order(kernel: LiveKernel) -> None:
    one = raw(kernel, CHAT, chat(text="[[say one]]"))
    two = raw(kernel, CHAT, chat(text="[[say two]]")).replace(
        b"content-type:", b"connection: close\r\ncontent-type:", 1
    )
    with connect(kernel) as client:
        client.sendall(one + two)
        answer = read_all(client)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(b'"one"') < answer.index(b'"two"')


def test_five_hundred_connections_that_do_nothing_cost_nobody_anything(
    kernel: LiveKernel,
) -> None:
    async def scenario() -> None:
        split = connect_address(kernel)
        idle = [await asyncio.open_connection(*split) for _ in range(500)]
        answers = [await asyncio.to_thread(ask, kernel, CHAT, chat()) for _ in range(10)]
        assert {answer.status for answer in answers} == {200}
        for reader, writer in idle:  # Each is told off in its time.
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            writer.close()
            await writer.wait_closed()

    asyncio.run(scenario())


def test_a_follower_of_output_that_leaves_is_forgotten(kernel: LiveKernel) -> None:
    token = operator_token(kernel)
    order = json.dumps({"command": ["sleep", "60"], "name": "sleeper"}).encode()
    assert ask(kernel, "/orlop/v1/processes", order, token=token).status == 201
    path = "/orlop/v1/processes/sleeper"
    asked = f"GET {path}/logs?follow=1 HTTP/1.1\r\nhost: localhost\r\nx-api-key: {token}\r\n\r\n"
    followers = [connect(kernel) for _ in range(5)]
    for follower in followers:
        follower.sendall(asked.encode())
        assert follower.recv(4_096).startswith(b"HTTP/1.1 200 ")
    for follower in followers:
        follower.close()
    ended = ask(kernel, f"{path}/signal", b'{"signal": "kill"}', token=token)
    assert ended.status == 200
    assert ask(kernel, f"{path}/wait", token=token).status == 200
