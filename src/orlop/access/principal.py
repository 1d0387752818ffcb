"""Who is asking: a process, a client with a key, or the operator.

A process's token is made from its id and incarnation under a secret of this home, so the kernel
keeps none, and a token of an earlier incarnation is recognised and fenced.  (Capabilities that
narrow come with the issue "One door".)
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from orlop.abi.errors import Unauthenticated
from orlop.abi.ids import ProcessId

PROCESS_PREFIX: Final = "orlp_"
OPERATOR_PREFIX: Final = "orlo_"
KEY_PREFIX: Final = "orlk_"


@dataclass(frozen=True, slots=True)
class ProcessPrincipal:
    process: ProcessId
    incarnation: int


@dataclass(frozen=True, slots=True)
class OperatorPrincipal:
    """May do everything."""


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """`digest`: SHA-256 of the secret, hexadecimal; the kernel knows which keys there are."""

    digest: str


Principal = ProcessPrincipal | OperatorPrincipal | KeyPrincipal


class Tokens:
    """Makes and reads tokens.  secret: 32 bytes, kept in the home, the same for all its kernels."""

    def __init__(self, secret: bytes, operator: str) -> None:
        self._secret = secret
        self._operator = operator

    def process(self, process: ProcessId, incarnation: int) -> str:
        """`orlp_<process id without prefix>.<incarnation>.<32 hex digits>`"""
        body = f"{process.removeprefix('prc_')}.{incarnation}"
        return f"{PROCESS_PREFIX}{body}.{self._mac(body)}"

    def read(self, token: str) -> Principal:
        """Raises `Unauthenticated`."""
        if token.startswith(PROCESS_PREFIX):
            return self._process(token.removeprefix(PROCESS_PREFIX))
        if token.startswith(KEY_PREFIX):
            return KeyPrincipal(sha256(token.encode()).hexdigest())
        if hmac.compare_digest(token.encode(), self._operator.encode()):
            return OperatorPrincipal()
        raise Unauthenticated("the key is none of this kernel's")

    def _process(self, text: str) -> ProcessPrincipal:
        body, _, mac = text.rpartition(".")
        process, _, incarnation = body.rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            raise Unauthenticated("the process token is not one of this kernel's")
        return ProcessPrincipal(ProcessId(f"prc_{process}"), int(incarnation))

    def _mac(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), sha256).hexdigest()[:32]
