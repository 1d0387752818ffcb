"""A client that says exactly what a test wants said, over TCP or the Unix socket."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from live_kernel import LiveKernel

TIMEOUT_S = 30.0
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
CALLS = "/orlop/v1/calls"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        read = json.loads(self.body)
        assert isinstance(read, dict), read
        return read


class UnixConnection(http.client.HTTPConnection):
    """To the kernel's socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def operator_token(kernel: LiveKernel) -> str:
    return (kernel.home / "keys" / "operator.token").read_text().strip()


def ask(
    kernel: LiveKernel,
    path: str,
    body: bytes | None = None,
    *,
    method: str = "",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    unix: bool = False,
) -> Answer:
    """One exchange.  token: None is the client key, an empty one none at all."""
    said = {"content-type": "application/json", **(headers or {})}
    token = kernel.key if token is None else token
    if token:
        said["authorization"] = f"Bearer {token}"
    client: http.client.HTTPConnection = UnixConnection(str(kernel.home / "kernel.sock"))
    if not unix:
        client = http.client.HTTPConnection(urlsplit(kernel.url).netloc, timeout=TIMEOUT_S)
    try:
        client.request(method or ("GET" if body is None else "POST"), path, body, said)
        answer = client.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        client.close()


def connect(kernel: LiveKernel) -> socket.socket:
    split = urlsplit(kernel.url)
    assert split.hostname is not None and split.port is not None
    return socket.create_connection((split.hostname, split.port), timeout=TIMEOUT_S)


def raw(kernel: LiveKernel, path: str, body: bytes, length: int | None = None) -> bytes:
    """The bytes of a POST, whose declared length may be wrong."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {kernel.key}\r\n"
        f"content-type: application/json\r\n"
        f"content-length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def read_all(connection: socket.socket) -> bytes:
    """Until the other side closes."""
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def chat(model: str = "fake", text: str = "hello", **fields: object) -> bytes:
    message = {"role": "user", "content": text}
    return json.dumps({"model": model, "messages": [message], **fields}).encode()


def error_of(answer: Answer, path: str) -> str:
    """The error's code, if it is said in the shape of the path's dialect."""
    assert answer.status >= 400, answer
    assert answer.headers["content-type"] == "application/json"
    held = answer.json()["error"]
    assert isinstance(held, dict), answer
    assert held["message"]
    if path.startswith(MESSAGES):
        assert answer.json()["type"] == "error"
        assert held["type"]
    elif path.startswith("/v1/"):
        assert {"message", "type", "param", "code"} <= set(held)
    else:
        assert {"code", "name", "fix", "fault", "retry", "retry_after_s"} <= set(held)
    assert answer.headers["orlop-error"] == held["code"]
    return str(held["code"])
