"""The desk's own knowledge, the same for every agent: classes, rules, prompts."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

Verdict = Literal["refund", "replace", "escalate", "answer"]
Vector = Sequence[float]
"""Of length 1, so that a product of two is their likeness."""

HERE: Final = Path(__file__).resolve().parent
EMBED_MODEL: Final = "minilm"
CHAT_MODEL: Final = "smollm2"
REPLY_TOKENS: Final = 40
RETURN_DAYS: Final = 30
LATE_DAYS: Final = 3
NEIGHBOURS: Final = 2
"""Examples of a class that count; a single one may be near by chance."""

SYSTEM: Final = (
    "You write for the support desk of a small shop. "
    "Tell the customer in two short, friendly sentences what we decided."
)


class Ticket(Struct, frozen=True, rename={"label": "class"}):
    """What a customer wrote.  `label` and `order` are for the report: the agents look away."""

    id: str
    label: str
    order: int
    email: str
    text: str


class Order(Struct, frozen=True):
    """As `shop.lookup` answers."""

    order: int
    customer: str
    status: Literal["open", "shipped", "lost", "delivered", "subscription"]
    days_late: int
    delivered_days_ago: int | None
    overpaid_cents: int
    items: list[str]
    known_faults: list[str]


class Decision(Struct, frozen=True):
    """What is done, and why, in words for the customer."""

    verdict: Verdict
    why: str


def tickets() -> list[Ticket]:
    return msgspec.json.decode((HERE / "tickets.json").read_bytes(), type=list[Ticket])


def ticket(id: str) -> Ticket:
    return next(ticket for ticket in tickets() if ticket.id == id)


def labelled() -> Mapping[str, list[str]]:
    """A few texts of each class.  No ticket is among them."""
    return msgspec.json.decode((HERE / "labelled.json").read_bytes(), type=dict[str, list[str]])


def learned() -> Mapping[str, list[Vector]]:
    """The labelled texts as vectors; demo.py asks for them once and puts them into a file."""
    content = Path(os.environ["DESK_VECTORS"]).read_bytes()
    return msgspec.json.decode(content, type=dict[str, list[Vector]])


def chat_model() -> str:
    """Who drafts the replies."""
    return os.environ.get("DESK_MODEL", CHAT_MODEL)


def classify(text: Vector, vectors: Mapping[str, Sequence[Vector]]) -> str:
    """The class whose nearest examples are nearest."""

    def nearness(name: str) -> float:
        likeness = (sum(a * b for a, b in zip(text, one, strict=True)) for one in vectors[name])
        return sum(sorted(likeness)[-NEIGHBOURS:])

    return max(vectors, key=nearness)


def order_number(text: str) -> int | None:
    """The order that a customer names."""
    found = re.search(r"\b4\d{3}\b", text)
    return int(found[0]) if found else None


def decide(label: str, order: Order) -> Decision:
    """The desk's rules: the class of the ticket and the state of the order settle what is done."""
    match label, order.status:
        case "billing", _ if order.overpaid_cents > 0:
            amount = order.overpaid_cents / 100
            return Decision("refund", f"{amount:.2f} was charged too much and is paid back")
        case "delivery", "lost":
            return Decision("replace", "the parcel is lost and a new one leaves today")
        case "delivery", "shipped" if order.days_late > LATE_DAYS:
            return Decision("escalate", "a colleague calls the courier today and then calls you")
        case "delivery", _:
            return Decision("answer", "the parcel is on its way and arrives in two days")
        case "returns", "delivered" if (order.delivered_days_ago or 0) <= RETURN_DAYS:
            return Decision("refund", "a free return label is sent, and the money comes back")
        case "technical", _ if order.known_faults:
            return Decision("replace", "the fault is known to us and a new device leaves today")
        case "account", _:
            return Decision("answer", "a link to settle this safely is sent to your address")
        case "cancellation", "open":
            return Decision("refund", "the order is cancelled and the money comes back")
        case "cancellation", "subscription":
            return Decision("answer", "the subscription ends with this month")
    return Decision("escalate", "a colleague looks into it by hand and writes tomorrow")


def prompt(ticket: Ticket, order: Order, decision: Decision) -> str:
    """What the model is asked to draft."""
    first_name = order.customer.split()[0]
    return (
        f"The customer {first_name} wrote: {ticket.text}\n\n"
        f"We decided: {decision.why}.\n\n"
        f"Write the reply to {first_name}."
    )
