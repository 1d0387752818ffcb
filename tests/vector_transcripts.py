"""External vector stores by transcript: what each was sent and what it answered, test by test.

They lie in `golden/stores`.  Where ORLOP_RECORD is `KIND=HOST:PORT`, that server is asked, and the
transcript is written anew.
"""

import http.client
import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Final

from vector_servers import Opener, opened

GOLDEN: Final = Path(__file__).parent / "golden" / "stores"
KINDS: Final = {"redis": "redis", "qdrant": "http", "weaviate": "http", "pinecone": "http"}
"""With the scheme of their addresses."""
KEYS: Final = ("api-key", "authorization", "x-pinecone-api-version")
"""Fields of HTTP that a transcript keeps."""
KEY: Final = "a-key-of-tests"


@dataclass(eq=False)
class Script:
    """upstream: the real server that is asked instead, host and port."""

    left: list[list[object]]
    upstream: tuple[str, int] | None = None
    told: list[list[object]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def answer(self, asked: object) -> object:
        """What the transcript has next; None where that is another question."""
        expected = self.left.pop(0) if self.left else ["nothing more", None]
        if expected[0] == asked:
            return expected[1]
        self.problems.append(f"asked {json.dumps(asked)}, where the transcript has {expected[0]}")
        return None

    def keep(self, asked: object, answer: object) -> None:
        self.told.append([asked, answer])


@contextmanager
def told(kind: str, test: str, folder: Path) -> Iterator[Opener]:
    """A store that answers what its transcript has; any other question fails the test."""
    key_file = folder / "key"
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    path = GOLDEN / f"{kind}.json"
    recorded, _, upstream = os.environ.get("ORLOP_RECORD", "").partition("=")
    known = json.loads(path.read_text()) if path.exists() else {}
    if recorded == kind:
        host, _, port = upstream.partition(":")
        script = Script([], (host, int(port)))
    else:
        script = Script(known[test])
    with resp_server(script) if kind == "redis" else http_server(script) as port_here:
        address = f"{kind}:{KINDS[kind]}://127.0.0.1:{port_here}"
        needs_key = kind in ("pinecone", "weaviate")
        with opened(lambda _: address, str(key_file) if needs_key else "") as opener:
            yield opener
    assert not script.problems, "\n".join(script.problems)
    assert not script.left, f"never asked: {script.left}"
    if script.upstream:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**known, test: script.told}, indent=1) + "\n")


@contextmanager
def http_server(script: Script) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def exchange(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", "0")))
            asked = {"ask": f"{self.command} {self.path}"}
            asked |= {name: self.headers[name] for name in KEYS if name in self.headers}
            if sent:
                asked["body"] = json.loads(sent)
            if script.upstream:
                answer: object = ask_http(script.upstream, self.command, self.path, sent)
                script.keep(asked, answer)
            else:
                answer = script.answer(asked)
            match answer:
                case [int() as status, body]:
                    data = b"" if body is None else json.dumps(body).encode()
                case _:
                    status, data = 500, b"not in the transcript"
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = exchange

        def log_message(self, format: str, *args: object) -> None:
            """Tests print nothing."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


def ask_http(upstream: tuple[str, int], method: str, path: str, body: bytes) -> list[object]:
    connection = http.client.HTTPConnection(*upstream, timeout=60)
    fields = {"content-type": "application/json", "api-key": KEY}
    connection.request(method, path, body or None, fields)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return [response.status, json.loads(data) if data else None]


@contextmanager
def resp_server(script: Script) -> Iterator[int]:
    """Redis: questions are lists of words, answers the very bytes, both as Latin-1."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = socket.create_connection(script.upstream) if script.upstream else None
            while command := read_command(self.rfile):
                asked = [word.decode("latin-1") for word in command]
                if line is not None:
                    answer: object = ask_redis(line, command).decode("latin-1")
                    script.keep(asked, answer)
                else:
                    answer = script.answer(asked)
                said = answer if isinstance(answer, str) else "-ERR not in the transcript\r\n"
                self.wfile.write(said.encode("latin-1"))
            if line is not None:
                line.close()

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    """Its port.  Its connections are ended by their clients."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read_command(words: BufferedIOBase | IO[bytes]) -> list[bytes]:
    """Empty at the end of the connection."""
    head = words.readline()
    count = int(head[1:]) if head else 0
    return [words.read(int(words.readline()[1:]) + 2)[:-2] for _ in range(count)]


def ask_redis(line: socket.socket, command: list[bytes]) -> bytes:
    spelt = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
    line.sendall(b"*%d\r\n" % len(command) + spelt)
    with line.makefile("rb") as answers:
        return raw_reply(answers)


def raw_reply(answers: IO[bytes]) -> bytes:
    head = answers.readline()
    kind, rest = head[:1], head[1:-2]
    if kind == b"$" and int(rest) >= 0:
        return head + answers.read(int(rest) + 2)
    if kind == b"*" and int(rest) > 0:
        return head + b"".join(raw_reply(answers) for _ in range(int(rest)))
    return head
