"""Speaks the HTTP API over a Unix socket with answers that a test has written down.

It stands where the kernel's network is, for tests of what clients make of it.
"""

import json
import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

FACTS = {"call": "cal_1"}


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.  `cut`: the connection breaks instead of ending properly."""

    body: object = None
    status: int = 200
    lines: tuple[object, ...] | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """One request."""

    method: str
    path: str
    fields: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass(slots=True)
class ScriptedKernel:
    """What a client meets; the last answer written down for a path is given for ever."""

    home: Path
    heard: list[Heard] = field(default_factory=list)
    answers: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))

    @property
    def socket(self) -> Path:
        return self.home / "kernel.sock"

    def says(self, order: str, *answers: Said) -> None:
        """`order`: `METHOD /path` without the query."""
        self.answers[order].extend(answers)

    def next_answer(self, order: str) -> Said:
        answers = self.answers[order]
        if not answers:
            return problem("E1201", f"nothing is written down for {order}", 404)
        return answers.pop(0) if len(answers) > 1 else answers[0]


def problem(code: str, message: str, status: int, retry_after_s: float | None = None) -> Said:
    return Said(
        {"error": {"code": code, "message": message, "retry_after_s": retry_after_s}}, status
    )


def completion(text: str) -> dict[str, object]:
    message = {"role": "assistant", "content": text}
    return {"type": "completion", "choices": [{"message": message}], "facts": FACTS}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread a connection."""

    daemon_threads = True

    def __init__(self, kernel: ScriptedKernel) -> None:
        super().__init__(str(kernel.socket), _Handler)
        self.kernel = kernel


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        assert isinstance(self.server, _Server)
        kernel = self.server.kernel
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kernel.heard.append(Heard(self.command, self.path, dict(self.headers.items()), body))
        said = kernel.next_answer(f"{self.command} {self.path.partition('?')[0]}")
        self.close_connection = said.cut
        if said.lines is not None:
            self._piecewise(said, said.lines)
        elif not said.cut:
            self._whole(said)

    def _whole(self, said: Said) -> None:
        body = json.dumps(said.body).encode()
        self.send_response(said.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _piecewise(self, said: Said, lines: tuple[object, ...]) -> None:
        self.send_response(said.status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = json.dumps(line).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if not said.cut:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """The tests look at `heard` instead."""

    def address_string(self) -> str:
        return "unix"


@contextmanager
def scripted_kernel(home: Path) -> Iterator[ScriptedKernel]:
    """Answers until the block ends; the home looks like that of a running kernel."""
    home.mkdir(parents=True, exist_ok=True)
    kernel = ScriptedKernel(home)
    write_home(kernel)
    with _Server(kernel) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield kernel
        finally:
            server.shutdown()
            thread.join()


def write_home(kernel: ScriptedKernel) -> None:
    (kernel.home / "keys").mkdir(exist_ok=True)
    (kernel.home / "keys" / "operator.token").write_text("secret\n")
    info = {
        "url": "http://127.0.0.1:1",
        "socket": str(kernel.socket),
        "home": str(kernel.home),
        "supervisor_pid": 1,
        "version": "0.1.0",
    }
    (kernel.home / "info.json").write_text(json.dumps(info))
