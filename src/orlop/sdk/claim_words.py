"""Claims as orders to send, and what comes back, without I/O."""

from typing import Final, TypedDict
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from orlop.abi.devices import ClaimOrder, ClaimView, Notice
from orlop.sdk.calling import nonce
from orlop.sdk.exchange import JSON, ROOT, Order

CLAIMS: Final = f"{ROOT}/process/claims"


class ClaimOptions(TypedDict, total=False):
    """As `abi.devices.ClaimOrder` has them."""

    share: float
    cores: int
    memory_bytes: int
    exclusive: bool
    notice_s: float
    purpose: str
    key: str


def claim_order(order: ClaimOrder) -> Order:
    # Asked again, after a lost answer, it is the same claim.
    named = replace(order, key=order.key or nonce())
    return Order("POST", CLAIMS, msgspec.json.encode(named), JSON)


def place_of(claim: ClaimView) -> str:
    return f"{CLAIMS}/{quote(claim.id, safe='')}"


def read_claim(body: bytes) -> ClaimView:
    return msgspec.json.decode(body, type=ClaimView)


def read_notice(body: bytes) -> Notice:
    return msgspec.json.decode(body, type=Notice)
