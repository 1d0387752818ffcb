"""Who is asking: a process with its token, a client with a key, or the operator.

Tokens of processes are capabilities (`access.capability`); a client's key is a secret whose digest
the kernel knows, with its rights; the operator's may do everything.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from orlop.abi.errors import Unauthenticated
from orlop.abi.ids import Nanoseconds
from orlop.access.capability import Capabilities, Capability, Holder, TokenConfig
from orlop.machine.chance import Chance
from orlop.store.signing_keys import SigningKeys
from orlop.wire import tokens

OPERATOR_PREFIX: Final = "orlo_"
KEY_PREFIX: Final = "orlk_"
PERSON_PREFIX: Final = "orlh_"


@dataclass(frozen=True, slots=True)
class ProcessPrincipal:
    capability: Capability


@dataclass(frozen=True, slots=True)
class OperatorPrincipal:
    """May do everything."""


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """`digest`: SHA-256 of the secret, hexadecimal; the kernel knows which keys there are."""

    digest: str


@dataclass(frozen=True, slots=True)
class PersonPrincipal:
    """Likewise: the kernel knows which people there are."""

    digest: str


Principal = ProcessPrincipal | OperatorPrincipal | KeyPrincipal | PersonPrincipal


class Tokens:
    """Makes and reads tokens of all kinds."""

    def __init__(self, capabilities: Capabilities, operator: str) -> None:
        self.capabilities = capabilities
        self._operator = operator.encode()

    @classmethod
    def volatile(cls, chance: Chance, operator: str = "") -> "Tokens":
        """For tests and the simulation: with keys that nobody keeps."""
        return cls(Capabilities(SigningKeys.volatile(chance), TokenConfig()), operator)

    def process(self, holder: Holder, now_ns: Nanoseconds) -> str:
        return self.capabilities.make(holder, now_ns)

    def read(self, token: str, now_ns: Nanoseconds) -> Principal:
        """Raises `Unauthenticated`."""
        if token.startswith(tokens.PREFIX):
            return ProcessPrincipal(self.capabilities.read(token, now_ns))
        if token.startswith(PERSON_PREFIX):
            return PersonPrincipal(sha256(token.encode()).hexdigest())
        if token.startswith(KEY_PREFIX):
            return KeyPrincipal(sha256(token.encode()).hexdigest())
        if self._operator and hmac.compare_digest(token.encode(), self._operator):
            return OperatorPrincipal()
        raise Unauthenticated("the key is none of this kernel's")
