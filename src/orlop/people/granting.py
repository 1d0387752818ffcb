"""Giving grants and taking them back."""

from orlop.abi.errors import BadCall, Exhausted, NotFound
from orlop.abi.grants import (
    Grant,
    GrantGiven,
    GrantOrder,
    GrantRevoked,
    GrantRevokeOrder,
    GrantTerms,
    GrantView,
)
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ProcessId, TenantId
from orlop.abi.limits import GRANTS_MAX, NAME_CHARS_MAX
from orlop.abi.questions import Question, QuestionCovered
from orlop.machine.chance import mint
from orlop.people import staff
from orlop.people.asking import after
from orlop.people.grant_table import check, covers, used
from orlop.people.house import House, Speaker


def require(house: House, terms: GrantTerms) -> None:
    """Raises `BadCall`, `Exhausted` where no grant can be given on these terms."""
    check(terms)
    if len(house.office.grants.open(house.clock.wall_ns())) >= GRANTS_MAX:
        raise Exhausted(f"{GRANTS_MAX} grants are open (GRANTS_MAX)")


def record(
    house: House,
    process: ProcessId,
    tenant: TenantId,
    agent: str,
    tool: str,
    terms: GrantTerms,
    person: str,
    question: str = "",
) -> Grant:
    """After `require`: only the journal can fail."""
    event = GrantGiven(
        grant=mint("grt", house.chance, house.clock.wall_ns()),
        agent=agent,
        tool=tool,
        terms=terms,
        expires_ns=after(house, terms.expires_s),
        person=person,
        question=question,
    )
    house.emit(process, tenant, event)
    row = house.office.grants.rows[event.grant]
    for waiting in coverable(house, row):
        covered = QuestionCovered(question=waiting.id, grant=row.id)
        house.emit(waiting.process, waiting.tenant, covered)
        house.desk.wake(waiting.id)
    return row


def coverable(house: House, grant: Grant) -> list[Question]:
    """Approvals that wait and that it would let through, the oldest first, as far as it goes."""
    found, left, now_ns = [], grant, house.clock.wall_ns()
    for row in house.office.questions.rows.values():
        same = (row.tenant, row.name, row.tool) == (grant.tenant, grant.agent, grant.tool)
        waits = row.state == "pending" and row.form == "approval"
        if same and waits and covers(left, row.arguments, now_ns):
            left = used(left, row.arguments)
            found.append(row)
    return found


async def give(house: House, order: GrantOrder, speaker: Speaker) -> GrantView:
    """Durable when it returns.  Raises `BadCall`, `NotFound`, `Denied`."""
    person = staff.require(house, speaker, order.person)
    if not order.agent or len(order.agent) > NAME_CHARS_MAX or not order.agent.isprintable():
        raise BadCall("agent: for the processes of which name?")
    if house.card_of(order.tool) is None:
        raise NotFound(f"no tool {order.tool[:NAME_CHARS_MAX]!r} here; `orlop tools` lists all")
    require(house, order.terms)
    staff.cost_of(house, person, order.minutes)
    # From here on only the journal can fail.
    row = record(
        house, KERNEL_PROCESS, speaker.tenant, order.agent, order.tool, order.terms, person
    )
    await staff.touched(
        house, KERNEL_PROCESS, speaker.tenant, "grant", person, order.minutes, f"gave {row.id}"
    )
    return view(house, row)


async def revoke(house: House, id: str, order: GrantRevokeOrder, speaker: Speaker) -> GrantView:
    """Raises `NotFound`, `Denied`.  Calls that run already go on."""
    person = staff.require(house, speaker, order.person)
    row = house.office.grants.rows.get(id)
    if row is None or row.tenant != speaker.tenant:
        raise NotFound(f"no grant {id[:100]!r}; `orlop grants` lists all")
    if row.revoked_ns is None:
        revoked = GrantRevoked(grant=id, person=person, reason=order.reason)
        header = house.emit(KERNEL_PROCESS, row.tenant, revoked)
        await house.journal.durable(header.seq)
    return view(house, house.office.grants.rows[id])


def listed(house: House, tenant: TenantId = DEFAULT_TENANT, *, closed: bool) -> list[GrantView]:
    rows = house.office.grants.rows.values()
    views = [view(house, row) for row in rows if row.tenant == tenant]
    return [one for one in views if closed or one.state == "open"]


def view(house: House, row: Grant) -> GrantView:
    return GrantView(grant=row, state=row.state(house.clock.wall_ns()))
