"""Encryption on the wire, and what may be listened on without it."""

import ipaddress
import ssl
from pathlib import Path

from orlop.abi.errors import Misconfigured
from orlop.http.place import HttpConfig
from orlop.store.secrets import require_private


def check(config: HttpConfig) -> None:
    """Raises `Misconfigured`: beyond this machine everybody on the way could read tokens."""
    context(config)
    if not (is_loopback(config.host) or config.tls_cert or config.plain):
        raise Misconfigured(
            f"[http] host = {config.host!r} is reached from other machines, and nothing is "
            "encrypted: name tls_cert and tls_key, or say plain = true where something in front "
            "of the kernel does TLS"
        )


def context(config: HttpConfig) -> ssl.SSLContext | None:
    """None where there is no certificate.  Raises `Misconfigured`."""
    if not config.tls_cert and not config.tls_key:
        return None
    if not config.tls_cert or not config.tls_key:
        raise Misconfigured("[http] tls_cert and tls_key come together")
    cert, key = Path(config.tls_cert).expanduser(), Path(config.tls_key).expanduser()
    require_private(key)
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"[http] the certificate in {cert} and the key in {key} can't be used: {error}"
        ) from error
    return made


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's own; of other names it can't tell: no."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
