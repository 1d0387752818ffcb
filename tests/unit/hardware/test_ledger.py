"""Who has which part of which device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.devices import (
    ClaimId,
    ClaimOrder,
    ClaimView,
    DeviceCard,
    DeviceHealth,
    DeviceName,
    Reading,
    Value,
)
from orlop.abi.errors import BadCall, Exhausted, NoSuchDevice
from orlop.abi.ids import ProcessId, TenantId
from orlop.hardware.ledger import Ledger

ME, YOU = TenantId("me"), TenantId("you")
GB = 1_000_000_000


def gpu(
    name: str, *, share: float = 1.0, health: DeviceHealth = "ready", **attributes: Value
) -> DeviceCard:
    return DeviceCard(
        name=DeviceName(name),
        kind="gpu",
        attributes={"memory_gb": 80.0, **attributes},
        reading=Reading(memory_total_bytes=80 * GB),
        share=share,
        health=health,
    )


CPU = DeviceCard(
    name=DeviceName("cpu0"),
    kind="cpu",
    attributes={"cores": 8, "memory_gb": 64.0},
    cpus=((0, 1, 2, 3), (4, 5, 6, 7)),
)


def take(
    ledger: Ledger, cards: list[DeviceCard], order: ClaimOrder, tenant: TenantId = ME
) -> ClaimView:
    id = ClaimId(f"clm_{len(ledger.claims)}_{tenant}")
    claim = ledger.planned(order, id, ProcessId("prc_1"), tenant, cards)
    ledger.take(claim)
    ledger.check(cards)
    return claim


def test_fractions_share_a_device_until_it_is_full() -> None:
    ledger, cards = Ledger(), [gpu("nvidia0")]
    take(ledger, cards, ClaimOrder(share=0.5))
    take(ledger, cards, ClaimOrder(share=0.5), YOU)
    with pytest.raises(Exhausted, match=r"nvidia0 has 0\.00 of itself free") as raised:
        take(ledger, cards, ClaimOrder(share=0.1))
    assert raised.value.retry_after_s


def test_a_claim_goes_where_it_leaves_least_over() -> None:
    ledger, cards = Ledger(), [gpu("nvidia0"), gpu("nvidia1")]
    assert take(ledger, cards, ClaimOrder(share=0.6)).device == "nvidia0"
    assert take(ledger, cards, ClaimOrder(share=0.3)).device == "nvidia0"
    assert take(ledger, cards, ClaimOrder(share=0.5)).device == "nvidia1"


def test_cores_come_from_one_node_of_the_memory_where_they_fit() -> None:
    ledger, cards = Ledger(), [CPU]
    assert take(ledger, cards, ClaimOrder(cores=3)).cores == (0, 1, 2)
    assert take(ledger, cards, ClaimOrder(cores=3)).cores == (4, 5, 6)
    assert take(ledger, cards, ClaimOrder(cores=1)).cores == (3,)
    with pytest.raises(Exhausted, match="has 1 of 8 cores free"):
        take(ledger, cards, ClaimOrder(cores=2))


def test_a_tenant_alone_has_no_neighbours() -> None:
    ledger, cards = Ledger(), [gpu("nvidia0")]
    take(ledger, cards, ClaimOrder(share=0.2, exclusive=True))
    with pytest.raises(Exhausted, match="another tenant"):
        take(ledger, cards, ClaimOrder(share=0.2), YOU)
    take(ledger, cards, ClaimOrder(share=0.2))


def test_nobody_is_put_out_for_a_tenant_alone() -> None:
    ledger, cards = Ledger(), [gpu("nvidia0")]
    take(ledger, cards, ClaimOrder(share=0.2), YOU)
    with pytest.raises(Exhausted, match="claims of other tenants"):
        take(ledger, cards, ClaimOrder(share=0.2, exclusive=True))


def test_a_device_that_was_somebodys_alone_is_erased_before_anybody_gets_it() -> None:
    ledger, cards = Ledger(), [gpu("nvidia0")]
    first = take(ledger, cards, ClaimOrder(share=0.5, exclusive=True))
    second = take(ledger, cards, ClaimOrder(share=0.5, exclusive=True))
    ledger.give_back(first.id)
    assert not ledger.erasing
    ledger.give_back(second.id)
    assert ledger.erasing == {"nvidia0": ME}
    for tenant in (ME, YOU):
        with pytest.raises(Exhausted, match="not yet erased"):
            take(ledger, cards, ClaimOrder(), tenant)
    ledger.erased(DeviceName("nvidia0"))
    take(ledger, cards, ClaimOrder(), YOU)


def test_a_device_of_one_tenant_by_configuration_is_nobody_elses() -> None:
    cards = [DeviceCard(name=DeviceName("nvidia0"), kind="gpu", tenant=YOU)]
    with pytest.raises(Exhausted, match="another tenant"):
        take(Ledger(), cards, ClaimOrder())


def test_a_degraded_device_has_less_to_give_and_a_drained_one_nothing() -> None:
    ledger = Ledger()
    with pytest.raises(Exhausted, match=r"has 0\.25 of itself free"):
        take(ledger, [gpu("nvidia0", share=0.25, health="degraded")], ClaimOrder(share=0.5))
    with pytest.raises(Exhausted, match="is drained"):
        take(ledger, [gpu("nvidia0", share=0.0, health="drained")], ClaimOrder(share=0.5))


def test_memory_is_claimed_too() -> None:
    ledger, cards = Ledger(), [gpu("nvidia0")]
    take(ledger, cards, ClaimOrder(share=0.1, memory_bytes=60 * GB))
    with pytest.raises(Exhausted, match=r"has 20\.0 GB of its memory unclaimed"):
        take(ledger, cards, ClaimOrder(share=0.1, memory_bytes=30 * GB))
    with pytest.raises(NoSuchDevice, match="memory_gb >= 100"):
        take(ledger, cards, ClaimOrder(share=0.1, memory_bytes=100 * GB))


def test_work_that_needs_notice_goes_where_there_is_enough() -> None:
    spot = gpu("spot", preemptible=True, notice_s=30.0)
    ledger = Ledger()
    assert take(ledger, [spot], ClaimOrder(share=0.1, notice_s=20)).device == "spot"
    with pytest.raises(NoSuchDevice, match="notice_s is 30"):
        take(ledger, [spot], ClaimOrder(share=0.1, notice_s=120))
    owned = gpu("owned")
    assert take(ledger, [spot, owned], ClaimOrder(share=0.1, notice_s=120)).device == "owned"


def test_slices_are_claimed_in_the_stead_of_the_whole() -> None:
    cards = [gpu("nvidia0", divided=True), gpu("nvidia0.mig0", parent="nvidia0")]
    ledger = Ledger()
    assert take(ledger, cards, ClaimOrder()).device == "nvidia0.mig0"
    with pytest.raises(Exhausted):
        take(ledger, cards, ClaimOrder())


@pytest.mark.parametrize(
    "order", [ClaimOrder(share=0), ClaimOrder(share=1.5), ClaimOrder(cores=-1)]
)
def test_nonsense_is_refused(order: ClaimOrder) -> None:
    with pytest.raises(BadCall):
        take(Ledger(), [gpu("nvidia0")], order)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "give", "erase"]),
        st.sampled_from([ME, YOU]),
        st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 1.0]),
        st.integers(0, 4),
        st.booleans(),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_sequence_of_claims_gives_more_than_there_is(
    steps: list[tuple[str, TenantId, float, int, bool]],
) -> None:
    """`Ledger.check` asserts the invariants after each step."""
    ledger, cards = Ledger(), [CPU, gpu("nvidia0"), gpu("nvidia1", share=0.5)]
    for number, (what, tenant, share, cores, exclusive) in enumerate(steps):
        if what == "take":
            order = ClaimOrder(share=share, cores=cores, exclusive=exclusive)
            id = ClaimId(f"clm_{number}")
            try:
                ledger.take(ledger.planned(order, id, ProcessId("prc_1"), tenant, cards))
            except Exhausted:
                continue
        elif what == "give" and ledger.claims:
            ledger.give_back(next(iter(ledger.claims)))
        elif ledger.erasing:
            ledger.erased(next(iter(ledger.erasing)))
        ledger.check(cards)
