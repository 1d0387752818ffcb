"""What people have said to a kernel that is lost, and another kernel must know: tokens, grants, and
how far agents are trusted.

A level comes with its evidence where none is known here; where one is, the lower of the two holds:
an incident there is one here too.
"""

from collections.abc import Iterator
from typing import TypeAlias

from msgspec.structs import replace

from orlop.abi.autonomy import LEVELS, AutonomyCarried, AutonomyMoved, AutonomyRow
from orlop.abi.grants import Grant, GrantGiven
from orlop.abi.ids import TenantId
from orlop.abi.people import PersonAdded
from orlop.people.house import House
from orlop.people.office import Office

Carried: TypeAlias = PersonAdded | GrantGiven | AutonomyCarried | AutonomyMoved


def carried(house: House, there: Office) -> Iterator[tuple[TenantId, Carried]]:
    """there: as the lost kernel left it.  What is known here already stays as it is."""
    here = house.office
    for person in there.roster.people.values():
        known = here.roster.people.get((person.tenant, person.name))
        if person.secret_digest and (known is None or not known.secret_digest):
            added = PersonAdded(person=person.name, secret_digest=person.secret_digest)
            yield person.tenant, added
    for grant in there.grants.open(house.clock.wall_ns()):
        if grant.id not in here.grants.rows:
            yield grant.tenant, left(grant)
    for row in there.autonomy.rows.values():
        seen = there.autonomy.seen.get((row.key.tenant, row.key.agent), {})
        if (event := trusted(here.autonomy.rows.get(row.key), row, tuple(seen))) is not None:
            yield row.key.tenant, event


def trusted(
    here: AutonomyRow | None, there: AutonomyRow, seen: tuple[str, ...]
) -> AutonomyCarried | AutonomyMoved | None:
    """None: what is known here stays.  seen: models and prompts that the agent used there."""
    if here is None:
        return AutonomyCarried(row=there, seen=seen)
    if LEVELS.index(there.level) >= LEVELS.index(here.level):
        return None
    return AutonomyMoved(
        agent=there.key.agent,
        tool=there.key.tool,
        task=there.key.task,
        was=here.level,
        level=there.level,
        cause="arrival",
        reason="a kernel that was lost, whose processes live here now, trusted it no further",
        known=there.known,
    )


def left(grant: Grant) -> GrantGiven:
    """What is left of it."""
    terms = grant.terms
    calls, limit = terms.calls_max, terms.sum_max
    return GrantGiven(
        grant=grant.id,
        agent=grant.agent,
        tool=grant.tool,
        terms=replace(
            terms,
            calls_max=None if calls is None else calls - grant.calls,
            sum_max=None if limit is None else limit - grant.sum,
        ),
        expires_ns=grant.expires_ns,
        person=grant.person,
        question=grant.question,
    )
