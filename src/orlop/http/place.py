"""Where this kernel is, as `boot` was told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orlop.machine.ranges import Limit, Many, Port


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`url` and `socket_path` reach the same kernel."""

    home: Path
    url: str
    socket_path: str
    os_pid: int
    supervisor_pid: int | None
    journal: str
    """Where it is kept: a file, or a database and its schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """The `[http]` table of orlop.toml."""

    host: str = "127.0.0.1"
    """The address to listen on; beyond loopback only with `tls_cert`, or `plain`."""
    port: Port | None = None
    """The port; by default 7411, or any free one if that is taken."""
    tls_cert: str = ""
    """A certificate (PEM, with its chain): TCP is encrypted; the Unix socket need not be."""
    tls_key: str = ""
    """Its private key (PEM), readable by its owner only."""
    plain: bool = False
    """Listen beyond loopback without encryption: only where something in front does TLS."""
    name: str = ""
    """The name in the URL that programs are given, as in the certificate; by default `host`."""
    receive_s: Limit = 60.0
    """Seconds in which a call has to arrive, from its first byte to its last."""
    bodies_bytes: Many = 512 * 1024 * 1024
    """Bytes of all bodies together whose calls are not answered yet; one more is refused with 429
    until there is room."""
    stall_s: Limit = 300.0
    """Seconds that a client may leave its answer unread, once no more can be written."""
    open: tuple[Literal["metrics", "openapi"], ...] = ()
    """Of `/metrics` and `/openapi.json`, what is told without a token."""
    allowed_hosts: tuple[str, ...] = ()
    """`Host` headers that are answered beside loopback's own names (DNS rebinding is refused)."""
