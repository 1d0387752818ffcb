"""Who has which part of which device.

Invariants:
1. of no device is more claimed than it has: shares and cores together at most the whole, memory at
   most its memory, no core twice;
2. a device that a tenant has alone has claims of that tenant only;
3. after that tenant has left, nobody gets the device before it is erased;
4. there are at most `CLAIMS_MAX` claims.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from orlop.abi.devices import ClaimId, ClaimOrder, ClaimView, DeviceCard, DeviceName
from orlop.abi.errors import BadCall, Exhausted
from orlop.abi.ids import ProcessId, TenantId
from orlop.abi.limits import CLAIMS_MAX
from orlop.hardware.claim import meeting

ROUNDING: Final = 1e-9
RETRY_S: Final = 5.0
"""Before a claim that found no room is made again."""


@dataclass(eq=False, slots=True)
class Ledger:
    claims: dict[ClaimId, ClaimView] = field(default_factory=dict)
    erasing: dict[DeviceName, TenantId] = field(default_factory=dict)
    """Devices that were somebody's alone, and are not erased yet."""
    _on: dict[DeviceName, dict[ClaimId, ClaimView]] = field(default_factory=dict)
    """The same by device: each call asks who has its engine's."""
    at_work: set[DeviceName] = field(default_factory=set)
    """Of those, the ones that are being erased now."""

    def planned(
        self,
        order: ClaimOrder,
        id: ClaimId,
        process: ProcessId,
        tenant: TenantId,
        cards: Sequence[DeviceCard],
    ) -> ClaimView:
        """What the claim would get; nothing is taken yet.

        Raises `BadCall`, `NoSuchDevice` where no device is ever fit, `Exhausted` where those that
        are have no room now.
        """
        _check(order)
        if len(self.claims) >= CLAIMS_MAX:
            raise Exhausted(f"{CLAIMS_MAX} claims are held (CLAIMS_MAX)", retry_after_s=RETRY_S)
        fit = meeting(_asked(order), [card for card in cards if _is_claimable(card)])
        reasons, best = list[str](), list[tuple[tuple[bool, float, str], DeviceCard]]()
        for card in fit:
            reason = self._refusal(order, tenant, card)
            if reason:
                reasons.append(f"{card.name} {reason}")
            else:
                left = card.share - self._taken(card)
                best.append(((card.health != "ready", left, card.name), card))
        if not best:
            raise Exhausted(
                f"no device has room for the claim {order.where!r}: {'; '.join(reasons)}",
                retry_after_s=RETRY_S,
            )
        chosen = min(best, key=lambda entry: entry[0])[1]
        return ClaimView(
            id=id,
            device=chosen.name,
            process=process,
            tenant=tenant,
            share=0.0 if order.cores else order.share,
            cores=self._cores(order.cores, chosen),
            memory_bytes=order.memory_bytes,
            exclusive=order.exclusive,
            latency_class=order.latency_class,
            notice_s=order.notice_s,
            purpose=order.purpose,
            key=order.key,
        )

    def take(self, claim: ClaimView) -> None:
        """Enter a planned claim."""
        self.claims[claim.id] = claim
        self._on.setdefault(claim.device, {})[claim.id] = claim

    def give_back(self, id: ClaimId) -> ClaimView | None:
        """Strike a claim out; where it was the last of an exclusive one, the device waits for its
        erasure.  None: there is no such claim (any more)."""
        claim = self.claims.pop(id, None)
        if claim is not None:
            del self._on[claim.device][id]
        if claim is not None and claim.exclusive and self.owner(claim.device) is None:
            self.erasing[claim.device] = claim.tenant
        return claim

    def erased(self, device: DeviceName) -> None:
        self.erasing.pop(device, None)

    def of(self, device: DeviceName) -> tuple[ClaimView, ...]:
        return tuple(self._on.get(device, {}).values())

    def owner(self, device: DeviceName) -> TenantId | None:
        """Who has it alone."""
        claims = self._on.get(device)
        if not claims:
            return None
        return next((claim.tenant for claim in claims.values() if claim.exclusive), None)

    def shown(self, card: DeviceCard) -> DeviceCard:
        """The card with what is claimed of it."""
        claims = self.of(card.name)
        return replace(
            card,
            share_claimed=sum(claim.share for claim in claims),
            cores_claimed=sum(len(claim.cores) for claim in claims),
            memory_claimed_bytes=sum(claim.memory_bytes for claim in claims),
            tenant=self.owner(card.name) or card.tenant,
            erasing=card.name in self.erasing,
            claims=claims,
        )

    def check(self, cards: Iterable[DeviceCard]) -> None:
        """Assert the invariants."""
        assert len(self.claims) <= CLAIMS_MAX
        assert self.claims == {id: one for on in self._on.values() for id, one in on.items()}
        for card in cards:
            claims = self.of(card.name)
            cores = [core for claim in claims for core in claim.cores]
            assert len(cores) == len(set(cores)), card.name
            assert self._taken(card) <= 1 + ROUNDING, card.name
            if (owner := self.owner(card.name)) is not None:
                assert all(claim.tenant == owner for claim in claims), card.name
                assert card.name not in self.erasing, card.name

    def _taken(self, card: DeviceCard) -> float:
        """Of the whole, by shares and by cores."""
        claims, cores = self.of(card.name), sum(len(node) for node in card.cpus)
        of_cores = sum(len(claim.cores) for claim in claims) / cores if cores else 0.0
        return sum(claim.share for claim in claims) + of_cores

    def _refusal(self, order: ClaimOrder, tenant: TenantId, card: DeviceCard) -> str:
        """Why the claim has no room on a device that is fit for it; empty: it has."""
        claims = self.of(card.name)
        owner = self.owner(card.name) or card.tenant
        if card.health in ("drained", "lost"):
            return f"is {card.health} ({card.reason})"
        if card.name in self.erasing:
            return "is not yet erased after its last holder"
        if owner is not None and owner != tenant:
            return "belongs to another tenant alone"
        if order.exclusive and any(claim.tenant != tenant for claim in claims):
            return "has claims of other tenants"
        cores = sum(len(node) for node in card.cpus)
        asked = order.cores / cores if order.cores and cores else order.share
        if order.cores and order.cores > len(self._free_cores(card)):
            return f"has {len(self._free_cores(card))} of {cores} cores free"
        if self._taken(card) + asked > card.share + ROUNDING:
            return f"has {max(0.0, card.share - self._taken(card)):.2f} of itself free"
        memory = card.reading.memory_total_bytes
        claimed = sum(claim.memory_bytes for claim in claims)
        if order.memory_bytes and memory is None:
            return "does not tell its memory"
        if memory is not None and claimed + order.memory_bytes > memory:
            return f"has {(memory - claimed) / 1e9:.1f} GB of its memory unclaimed"
        return ""

    def _free_cores(self, card: DeviceCard) -> list[int]:
        taken = {core for claim in self.of(card.name) for core in claim.cores}
        return [core for node in card.cpus for core in node if core not in taken]

    def _cores(self, count: int, card: DeviceCard) -> tuple[int, ...]:
        """From one node of the memory where they fit, and there from the fullest that has them."""
        free = set(self._free_cores(card))
        nodes = [[core for core in node if core in free] for node in card.cpus]
        fitting = sorted((node for node in nodes if len(node) >= count), key=len)
        chosen = fitting[0] if fitting else [core for node in nodes for core in node]
        return tuple(chosen[:count])


def _check(order: ClaimOrder) -> None:
    if not 0 < order.share <= 1:
        raise BadCall(f"share: more than 0 and at most 1, not {order.share:g}")
    if order.cores < 0 or order.memory_bytes < 0 or order.notice_s < 0:
        raise BadCall("cores, memory_bytes, notice_s: not below 0")


def _asked(order: ClaimOrder) -> list[str]:
    """The claim's own words, and what else it needs said in the same language."""
    asked = [order.where]
    if order.cores:
        asked.append(f"cores >= {order.cores}")
    if order.memory_bytes:
        asked.append(f"memory_gb >= {order.memory_bytes / 1e9:.1f}")
    if order.notice_s:
        asked.append(f"!has(preemptible) || !preemptible || notice_s >= {order.notice_s:g}")
    return asked


def _is_claimable(card: DeviceCard) -> bool:
    """Slices are claimed in the stead of the whole, and members in the stead of their group."""
    return card.attributes.get("divided") is not True and "members" not in card.attributes
