"""What another kernel needs to know of what people have said."""

from decimal import Decimal

from orlop.abi.grants import Grant, GrantTerms
from orlop.abi.ids import Nanoseconds, TenantId
from orlop.people.carrying import left
from orlop.people.grant_table import Grants


def test_of_a_grant_only_what_is_left_is_carried() -> None:
    grant = Grant(
        id="grt_1",
        tenant=TenantId("default"),
        agent="desk",
        tool="pay",
        terms=GrantTerms(calls_max=5, sum_of="amount", sum_max=Decimal(100)),
        given_ns=Nanoseconds(0),
        expires_ns=Nanoseconds(1_000),
        person="grace",
        calls=2,
        sum=Decimal(30),
    )
    event = left(grant)
    assert (event.terms.calls_max, event.terms.sum_max) == (3, Decimal(70))
    there = Grants()
    there.given(TenantId("default"), Nanoseconds(5), event)
    row = there.rows["grt_1"]
    assert (row.expires_ns, row.person, row.state(Nanoseconds(999))) == (1_000, "grace", "open")
    assert row.state(Nanoseconds(1_000)) == "expired"
