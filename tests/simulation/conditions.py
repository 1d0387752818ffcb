"""What a seed chooses: how crowded the town is, how it thinks, and what goes wrong in it."""

import random
from dataclasses import dataclass
from typing import Literal

from orlop.abi.budgets import ORGANISATION, AccountName, Limit
from orlop.abi.calls import Budget
from orlop.abi.ids import NanoDollars
from orlop.sched.policy import POLICIES, PolicyName

AwaitIntents = Literal["paid", "always"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Times in seconds of virtual time; chances from 0 to 1."""

    agents: int
    clients: int
    steps: int
    """Of each agent's plan, about."""
    at_once: int
    """Calls that an agent makes at once, at most."""
    think_s: float
    engines: int
    slots: int
    decode_s: float
    engine_faults: float
    """Chance that a call meets one; each kind of fault is as likely."""
    tool_s: float
    tool_faults: float
    commit_s: float
    """The longest that the disk takes for one commit."""
    disk_faults: float
    """Chance that what goes wrong next is the disk."""
    drop: float
    """Chance that a client loses the connection while it waits."""
    mayhem_s: float
    """How long things go wrong."""
    pause_s: float
    """Between two things that go wrong, on average."""
    outage_s: float
    """The longest time from a crash to the next boot."""
    policy: PolicyName
    kv_tokens: int
    """That an engine holds; 0: as many as anybody wants."""
    host_tokens: int
    continues: bool
    """Engines give way to urgent calls, and go on later."""
    await_intents: AwaitIntents
    snapshot_events: int
    schedules: int
    limits: dict[AccountName, Limit]
    """What the town's operator allows, by account."""


def drawn(seed: int) -> Conditions:
    """The conditions of a seed.  Each varies by an order of magnitude or is off in some seeds."""
    chance = random.Random(f"conditions {seed}")
    pressure = random.Random(f"pressure {seed}")
    return Conditions(
        agents=chance.randint(2, 6),
        clients=chance.randint(0, 2),
        steps=chance.randint(2, 6),
        at_once=chance.choice([1, 2, 4]),
        think_s=chance.choice([0.0, 0.1, 1.0]),
        engines=chance.randint(1, 2),
        slots=chance.choice([1, 1, 2, 8]),
        decode_s=chance.choice([0.0, 0.001, 0.02]),
        engine_faults=chance.choice([0.0, 0.02, 0.15]),
        tool_s=chance.choice([0.0, 0.05, 0.5]),
        tool_faults=chance.choice([0.0, 0.1, 0.4]),
        commit_s=chance.choice([0.0, 0.0, 0.005, 0.05]),
        disk_faults=chance.choice([0.0, 0.0, 0.1, 0.3]),
        drop=chance.choice([0.0, 0.05, 0.2]),
        mayhem_s=chance.choice([0.0, 3.0, 10.0, 10.0]),
        pause_s=chance.choice([0.05, 0.3, 1.0]),
        outage_s=chance.choice([0.0, 0.1, 2.0]),
        policy=chance.choice(sorted(POLICIES)),
        kv_tokens=pressure.choice([0, 0, 40, 200]),
        host_tokens=pressure.choice([0, 400]),
        continues=pressure.choice([False, True]),
        await_intents=chance.choice(["paid", "always"]),
        snapshot_events=chance.choice([7, 40, 20_000]),
        schedules=chance.choice([0, 0, 1, 2]),
        limits=limits(chance),
    )


def limits(chance: random.Random) -> dict[AccountName, Limit]:
    """One in two towns has no budgets but its processes' own."""
    if chance.random() < 0.5:
        return {}
    everybody = Limit(
        budget=Budget(
            calls=chance.choice([None, 60]),
            tokens=chance.choice([None, 60_000]),
            nano_dollars=chance.choice([None, NanoDollars(3_000_000)]),
        ),
        per=chance.choice(["ever", "hour"]),
        calls_per_minute=chance.choice([None, 12]),
    )
    task = Limit(
        budget=Budget(tokens=chance.choice([None, 9_000]), seconds=chance.choice([None, 5.0])),
        calls_per_minute=chance.choice([None, 5]),
    )
    return {ORGANISATION: everybody, AccountName("task:*"): task}
