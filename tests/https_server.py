"""A server outside, with a certificate of an authority that only these tests know."""

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.2"
"""This machine by an address that no proxy variable leaves out."""


STREAM_S = 20.0
"""How long a stream waits for its release."""


@dataclass(frozen=True, slots=True)
class Outside:
    """`seen`: what was asked for, in order, each as `METHOD PATH BODY`."""

    url: str
    port: int
    authority: Path
    seen: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def stream(handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
    """Events, the second of which waits for a `/release`; `/stream/cut` breaks off after them."""
    released.clear()
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream; charset=utf-8")
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    for piece in (b"data: one\n\n", b"data: tw", b"o\n\n"):
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.flush()
        if not released.wait(STREAM_S):
            break
    else:
        if handler.path != "/stream/cut":
            handler.wfile.write(b"0\r\n\r\n")
            return
    handler.close_connection = True


@contextmanager
def outside(folder: Path, *, tls: bool = True, large: int = 0) -> Iterator[Outside]:
    """large: bytes of what `GET /large` answers."""
    seen: list[str] = []
    released = threading.Event()
    told: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            shown = str(len(body)) if length > 999 else body.decode()
            seen.append(f"{self.command} {self.path} {shown}".strip())
            told.append({name.lower(): value for name, value in self.headers.items()})
            if self.path.startswith("/stream"):
                stream(self, released)
                return
            if self.path == "/release":
                released.set()
            said = b"x" * large if self.path == "/large" else f"answer {len(seen)}".encode()
            if self.path.startswith("/broken"):
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _any

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    authority = folder / "authority.pem"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(folder, authority))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    port = server.server_address[1]
    scheme = "https" if tls else "http"
    try:
        yield Outside(f"{scheme}://{HOST}:{port}", port, authority, seen, told)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certificate(folder: Path, authority: Path) -> Path:
    """A file with the server's key and certificate; `authority` is written too."""
    now = datetime.datetime.now(datetime.UTC)
    top = ec.generate_private_key(ec.SECP256R1())
    own = ec.generate_private_key(ec.SECP256R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])

    def signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(top, hashes.SHA256())

    authority.write_bytes(signed(root, top, ca=True).public_bytes(serialization.Encoding.PEM))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    chain = folder / "server.pem"
    chain.write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed(name, own, ca=False).public_bytes(serialization.Encoding.PEM)
    )
    return chain
