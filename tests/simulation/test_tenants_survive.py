"""Three tenants on a kernel that is killed again and again: no byte of one reaches another (I6)."""

import random
from contextlib import suppress

import pytest
from simulation.borough import ACME, TENANTS, Borough, Computer, mark, notarised
from simulation_loop import simulate

from orlop.abi.errors import Conflict
from orlop.abi.ids import Seq
from orlop.kernel import forgetting
from orlop.subsystems import lifecycle, saga, tenants

STEPS = 100


@pytest.mark.parametrize("seed", range(25))
def test_no_byte_of_a_tenant_reaches_another(seed: int) -> None:
    async def scenario() -> None:
        here = Computer()
        borough = Borough(here, await here.boot(), random.Random(seed))
        await borough.settle()
        await borough.live(STEPS)
        notary = await notarised(borough.kernel)
        assert min(borough.answered, borough.refused, notary.events) > 20, f"seed {seed}"
        assert {*notary.of.values()} == set(TENANTS), f"seed {seed}: somebody was never there"
        await forgotten(borough)
        await here.close(borough.kernel)

    simulate(seed, scenario())


async def forgotten(borough: Borough) -> None:
    """One goes: all that it has said is gone, and nothing that others have."""
    kernel, said = borough.kernel, dict.fromkeys(TENANTS, 0)
    kernel.snapshot()  # Which holds what all of them have said.
    for row in tuple(kernel.tables.rows.values()):
        if row.tenant == ACME:
            with suppress(Conflict):  # It has ended already, or with its parent.
                await lifecycle.signal(kernel, kernel.get(row.id), "kill", "for the test")
            await lifecycle.ended(kernel, kernel.get(row.id))
    await tenants.remove(kernel, ACME, "over")
    while saga.listed(kernel, ACME, over=False):
        await kernel.clock.sleep(1.0)
    await forgetting.forget(kernel, ACME, "they asked")
    await kernel.journal.flush()
    for stored in await kernel.journal.read(Seq(1), limit=1_000_000):
        assert mark(ACME).encode() not in (stored.body or b""), f"event {stored.header.seq}"
        said[stored.header.tenant] += stored.body is not None
    assert said[ACME] == 0 and all(said[tenant] for tenant in TENANTS if tenant != ACME)
    assert kernel.memories is not None and kernel.files is not None
    for projection in kernel.projections:
        await projection.current()
        dump = await projection.read(lambda connection: "\n".join(connection.iterdump()))
        assert mark(ACME) not in dump
