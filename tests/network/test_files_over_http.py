"""Files by their routes: bytes in, bytes out, of any size, with honest refusals."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from live_kernel import LiveKernel, live_kernel

CONFIG = """
[files]
bytes_max = 3_000_000
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[LiveKernel]:
    with live_kernel(CONFIG) as live:
        yield live


def ask(
    kernel: LiveKernel, method: str, path: str, body: bytes | None = None, token: str = ""
) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"{kernel.url}/orlop/v1/{path}",
        data=body,
        method=method,
        headers={"Authorization": f"Bearer {token or kernel.key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def where(path: str, **query: object) -> str:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return f"files?path={quote(path, safe='')}{more}"


def test_bytes_go_in_and_come_out(kernel: LiveKernel) -> None:
    data = bytes(range(256)) * 10_000
    status, body = ask(kernel, "POST", where("/big"), data)
    assert status == 200
    assert json.loads(body)["files"] == [{"path": "/big", "version": 1}]
    assert ask(kernel, "GET", where("/big")) == (200, data)
    assert ask(kernel, "POST", where("/big", append=1), b"end")[0] == 200
    assert ask(kernel, "GET", where("/big"))[1] == data + b"end"
    assert ask(kernel, "GET", where("/big", version=1))[1] == data
    assert ask(kernel, "POST", where("/empty"), b"")[0] == 200
    assert ask(kernel, "GET", where("/empty")) == (200, b"")
    assert ask(kernel, "DELETE", where("/big"))[0] == 200
    assert ask(kernel, "GET", where("/big"))[0] == 404


def test_what_is_wrong_is_said(kernel: LiveKernel) -> None:
    assert ask(kernel, "POST", where("/x", if_version=4), b"x")[0] == 409
    assert ask(kernel, "GET", "files")[0] == 400
    assert ask(kernel, "GET", where("/nothing"))[0] == 404
    assert ask(kernel, "GET", where("/a/../b"))[0] == 400
    assert ask(kernel, "POST", "pieces", bytes(1_048_577))[0] == 413
    assert ask(kernel, "POST", "pieces", b"")[0] == 413
    assert ask(kernel, "GET", where("/x"), token="nobody")[0] == 401
    assert ask(kernel, "GET", "mounts")[0] == 403
    assert ask(kernel, "GET", "parts/zz", token="nobody")[0] == 401


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(kernel: LiveKernel) -> None:
    connection = http.client.HTTPConnection(urlsplit(kernel.url).netloc, timeout=30)
    connection.putrequest("POST", f"/orlop/v1/{where('/large')}")
    connection.putheader("Authorization", f"Bearer {kernel.key}")
    connection.putheader("Content-Length", "3000001")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"files.bytes_max" in answer.read()
    connection.close()


def test_a_piece_that_is_stored_can_be_named(kernel: LiveKernel) -> None:
    status, body = ask(kernel, "POST", "pieces", b"piece by piece")
    assert status == 200
    call = {"type": "write", "files": [{"path": "/p", "pieces": json.loads(body)["pieces"]}]}
    assert ask(kernel, "POST", "calls", json.dumps(call).encode())[0] == 200
    assert ask(kernel, "GET", where("/p"))[1] == b"piece by piece"
    lie = {"type": "write", "files": [{"path": "/q", "pieces": [["00" * 16, 3]]}]}
    assert ask(kernel, "POST", "calls", json.dumps(lie).encode())[0] == 400
