"""What people and operators may ask about people: questions, grants, autonomy.

A person with a token of his own speaks in his own name; an operator names whom he speaks for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from orlop.abi.autonomy import AutonomyView, IncidentOrder, LevelOrder
from orlop.abi.errors import Broken
from orlop.abi.grants import GrantOrder, GrantRevokeOrder, GrantView
from orlop.abi.limits import CLIENT_PATIENCE_S
from orlop.abi.people import CaseFile, NewPerson, PeopleView, PersonOrder, TouchOrder, Work
from orlop.abi.questions import AnswerOrder, BatchLine, BatchOrder, Question
from orlop.sdk.exchange import JSON, ROOT, Order
from orlop.sdk.link import Link
from orlop.sdk.place import find, person_token

T = TypeVar("T")


def people(
    url: str = "",
    *,
    token: str = "",
    home: Path | None = None,
    tenant: str = "",
    patience_s: float = CLIENT_PATIENCE_S,
) -> "People":
    """token: a person's own, by default of ORLOP_PERSON_TOKEN; without one, the operator's."""
    return People(
        Link(find(url, token=token or person_token(), home=home, tenant=tenant), patience_s)
    )


class People:
    """One typed method an order."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def questions(
        self, *, closed: bool = False, tool: str = "", agent: str = "", asked: str = ""
    ) -> list[Question]:
        """asked: only those that are put to this person, or to everybody."""
        query = {"all": int(closed), "tool": tool, "agent": agent, "for": asked}
        return self._get(f"/questions?{urlencode(query)}", list[Question])

    def question(self, id: str) -> Question:
        return self._get(f"/questions/{quote(id, safe='')}", Question)

    def case(self, id: str) -> CaseFile:
        return self._get(f"/questions/{quote(id, safe='')}/case", CaseFile)

    def answer(self, id: str, order: AnswerOrder) -> Question:
        """Once: a second answer is a `Conflict`."""
        return self._post(f"/questions/{quote(id, safe='')}/answer", order, Question)

    def together(self, ids: Sequence[str], order: AnswerOrder) -> list[BatchLine]:
        """The same word on many."""
        return self._post("/answers", BatchOrder(ids=tuple(ids), order=order), list[BatchLine])

    def grants(self, *, closed: bool = False) -> list[GrantView]:
        return self._get(f"/grants?all={int(closed)}", list[GrantView])

    def give(self, order: GrantOrder) -> GrantView:
        return self._post("/grants", order, GrantView)

    def revoke(self, id: str, order: GrantRevokeOrder) -> GrantView:
        return self._post(f"/grants/{quote(id, safe='')}/revoke", order, GrantView)

    def autonomy(self) -> list[AutonomyView]:
        return self._get("/autonomy", list[AutonomyView])

    def set_level(self, order: LevelOrder) -> AutonomyView:
        return self._post("/autonomy", order, AutonomyView)

    def incident(self, order: IncidentOrder) -> AutonomyView:
        return self._post("/incidents", order, AutonomyView)

    def people(self) -> PeopleView:
        return self._get("/people", PeopleView)

    def add(self, name: str) -> NewPerson:
        """For operators: a token for `name`, shown once."""
        return self._post("/people", PersonOrder(name=name), NewPerson)

    def remove(self, name: str) -> None:
        path = f"{ROOT}/people/{quote(name, safe='')}"
        self._link.ask(Order("DELETE", path, repeatable=False))

    def note(self, order: TouchOrder) -> Work:
        return self._post("/touches", order, Work)

    def _get(self, path: str, kind: type[T]) -> T:
        return _decode(self._link.ask(Order("GET", ROOT + path)).body, kind)

    def _post(self, path: str, order: msgspec.Struct, kind: type[T]) -> T:
        body = msgspec.json.encode(order)
        answer = self._link.ask(Order("POST", ROOT + path, body, JSON, repeatable=False))
        return _decode(answer.body, kind)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Broken(f"the kernel's answer can't be read: {error}") from error
