"""What the kernel asks servers outside with, and what it remembers of those it refused."""

from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from orlop.abi.egress import Answered, Fetch, Onward, split_host
from orlop.abi.errors import BadCall

Sink = Callable[[Onward], None]
"""Never waits."""

PORTS = {"http": 80, "https": 443}


class Web(Protocol):
    """What asks servers outside."""

    async def fetch(
        self, call: Fetch, key: str, limit_s: float, onward: Sink | None = None
    ) -> Answered:
        """Once.  key: names this effect for ever.  onward: is given an answer that streams, head
        first, as it comes.  Raises `DeviceFailed`, `DeadlineMissed`."""
        ...


def place(url: str) -> tuple[str, str, int]:
    """Scheme, host and port.  Raises `BadCall`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadCall(f"url: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadCall("url: write http://HOST/… or https://HOST/…")
    if parts.username is not None or parts.password is not None:
        raise BadCall("url: no user and password in it; send an authorization header")
    host, _ = split_host(f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname)
    return parts.scheme, host, port or PORTS[parts.scheme]
