"""No way out of the kernel's own process, but to what orlop.toml names.

One place for all of it: every connection that Python opens, in any thread and by any library, is
heard by the interpreter itself before it is made (`sys.addaudithook`; it can't be taken back).  So
the kernel runs on the standard event loop then, whose sockets are Python's.
"""

import errno
import ipaddress
import logging
import re
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Final
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

RESOLVING: Final = frozenset(
    {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
)
CONNECTING: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
HOST_FIELDS: Final = frozenset({"host", "hosts", "server"})
"""Settings that are a host without a scheme before it."""
ADDRESS: Final = re.compile(r"[A-Za-z0-9+.-]+://.*")
"""In a setting, whatever stands before it, as in `qdrant:https://…`."""


class AirGap:
    """hosts: names and addresses that may be reached, beside this machine.

    Invariant: an address is reached only if it is this machine's, is listed itself, or is what the
    name service said of a listed name.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self.hosts = frozenset(host.lower().strip("[]") for host in hosts if host)
        self._addresses: set[str] = set()
        self._own = threading.local()
        self.refused = 0

    def install(self) -> None:
        """For the life of this process."""
        sys.addaudithook(self._heard)

    def _heard(self, event: str, words: tuple[object, ...]) -> None:
        if event in RESOLVING:
            self._name(words[0])
        elif event in CONNECTING:
            self._address(words[1] if len(words) > 1 else None)

    def _name(self, host: object) -> None:
        """Raises `PermissionError`; a listed name's addresses are learned here."""
        if isinstance(host, bytes):
            host = host.decode(errors="replace")
        if isinstance(host, tuple):
            host = host[0]
        if not isinstance(host, str) or not host or is_local(host):
            return
        name = host.lower()
        if name not in self.hosts and name not in self._addresses:
            self._refuse(name)
        if name in self.hosts and not getattr(self._own, "asking", False):
            self._learn(name)

    def _learn(self, name: str) -> None:
        """What the name service says of it now; asked again by whoever wanted to know."""
        self._own.asking = True
        try:
            found = socket.getaddrinfo(name, None)
        except OSError:
            return  # The caller is told by his own asking.
        finally:
            self._own.asking = False
        self._addresses.update(str(address[0]) for *_, address in found)

    def _address(self, address: object) -> None:
        """Raises `PermissionError`."""
        if not isinstance(address, tuple) or not address:
            return  # A Unix socket, or one that is connected already.
        host = str(address[0]).lower()
        if is_local(host) or host in self.hosts or host in self._addresses:
            return
        self._refuse(host)

    def _refuse(self, host: str) -> None:
        self.refused += 1
        log.warning("airgap: nothing is sent to %s, which orlop.toml does not name", host)
        raise PermissionError(
            errno.EACCES, f"this kernel is airgapped, and orlop.toml does not name {host}"
        )


def is_local(host: str) -> bool:
    """This machine, by its loopback."""
    if host in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def listed(settings: object) -> Iterator[str]:
    """The hosts that settings name: of every address in them, and in fields that are one."""
    if is_dataclass(settings):
        for field in fields(settings):
            value = getattr(settings, field.name)
            if field.name in HOST_FIELDS and isinstance(value, str) and value:
                yield value.rpartition(":")[0] or value
            yield from listed(value)
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from listed(value)
    elif isinstance(settings, tuple | list | frozenset | set):
        for value in settings:
            yield from listed(value)
    elif isinstance(settings, str) and (address := ADDRESS.search(settings)):
        try:
            yield urlsplit(address[0]).hostname or ""
        except ValueError:
            return
