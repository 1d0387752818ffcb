"""What people have said to a kernel that is lost, and another kernel must know: tokens and grants.

Levels of autonomy are not carried: their evidence is in the other journal, so here it begins anew.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from orlop.abi.grants import Grant, GrantGiven
from orlop.abi.ids import TenantId
from orlop.abi.people import PersonAdded
from orlop.people.house import House
from orlop.people.office import Office


def carried(house: House, there: Office) -> Iterator[tuple[TenantId, PersonAdded | GrantGiven]]:
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
