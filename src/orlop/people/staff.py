"""Who the people are: tokens of their own, in whose name they speak, and what their time costs."""

import math
from hashlib import sha256
from typing import Final

from orlop.abi.errors import BadCall, Denied, Exhausted, NotFound
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, NanoDollars, ProcessId, TenantId
from orlop.abi.limits import NAME_CHARS_MAX, PEOPLE_MAX
from orlop.abi.people import HumanTouched, NewPerson, PersonAdded, PersonRemoved
from orlop.abi.questions import Touch
from orlop.people.house import UNNAMED, House, Speaker

PERSON_PREFIX: Final = "orlh_"
SECRET_BYTES: Final = 24
MINUTES_MAX: Final = 1e6


async def add(house: House, name: str, tenant: TenantId = DEFAULT_TENANT) -> NewPerson:
    """A token for `name`; an earlier one is void from here on.  Raises `BadCall`, `Exhausted`."""
    check_name(name)
    known = house.office.roster.people
    if (tenant, name) not in known and len(known) >= PEOPLE_MAX:
        raise Exhausted(f"{PEOPLE_MAX} people are known (PEOPLE_MAX)")
    token = PERSON_PREFIX + house.chance.token(SECRET_BYTES).hex()
    added = PersonAdded(person=name, secret_digest=digest_of(token))
    await house.journal.durable(house.emit(KERNEL_PROCESS, tenant, added).seq)
    return NewPerson(name=name, token=token)


async def remove(house: House, name: str, tenant: TenantId = DEFAULT_TENANT) -> None:
    """Take the token back; what he has done stays.  Raises `NotFound`."""
    person = house.office.roster.people.get((tenant, name))
    if person is None or not person.secret_digest:
        raise NotFound(f"nobody called {name[:NAME_CHARS_MAX]!r} has a token; see `orlop people`")
    header = house.emit(KERNEL_PROCESS, tenant, PersonRemoved(person=name))
    await house.journal.durable(header.seq)


def digest_of(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def check_name(name: str) -> None:
    """Raises `BadCall`."""
    if not name.strip() or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise BadCall(f"person: 1 to {NAME_CHARS_MAX} printable characters; who says so?")


def require(house: House, speaker: Speaker, named: str) -> str:
    """The name that goes into the journal.  named: as the order gives it.

    Raises `Denied` where somebody speaks in a name that is not his, `BadCall`.
    """
    if speaker.proof == "token":
        if named and named != speaker.name:
            raise Denied(f"this is {speaker.name}'s token; it can't speak for {named}")
        return speaker.name
    name = named or speaker.name or UNNAMED
    check_name(name)
    if not speaker.is_operator:
        return name
    if house.desk.config.require_token:
        raise Denied(
            "people.require_token: only people with tokens of their own may do this "
            "(`orlop people add NAME`, then ORLOP_PERSON_TOKEN)"
        )
    person = house.office.roster.people.get((speaker.tenant, name))
    if person is not None and person.secret_digest:
        raise Denied(f"{name} has a token; only who holds it speaks for {name}")
    return name


def cost_of(house: House, person: str, minutes: float) -> NanoDollars:
    """Rounded up, as all money.  Raises `BadCall` for minutes that nobody can have worked."""
    if not 0 <= minutes <= MINUTES_MAX:
        raise BadCall(f"minutes: from 0 to {MINUTES_MAX:g}")
    config = house.desk.config
    rate = config.rates.get(person, config.hourly_rate)
    return NanoDollars(math.ceil(minutes / 60 * rate * 1e9))


async def touched(
    house: House,
    process: ProcessId,
    tenant: TenantId,
    touch: Touch,
    person: str,
    minutes: float,
    note: str = "",
) -> None:
    """Work that no answer holds.  Durable when it returns."""
    event = HumanTouched(
        touch=touch,
        person=person,
        minutes=minutes,
        cost=cost_of(house, person, minutes),
        note=note,
    )
    await house.journal.durable(house.emit(process, tenant, event).seq)
