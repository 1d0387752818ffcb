"""Questions about long conversations: what τ-bench's agents were told, and would need again.

From `tau_bench/gpt-4o-airline.json.gz`: 50 tasks of 34 travellers, each task lived through four
times by a model that plays the traveller.  What is remembered comes from two of the times, in
order: each turn of both sides, and each reservation and profile that a tool showed, as one sentence
under its key, so that later ones supersede earlier ones.  What is asked comes from the other two
times, in the travellers' own words, or is made by the rules below from the tools' answers.  What
answers a question follows from the trajectories by rule; nobody looked at a question or an answer.

Travellers are in two halves.  Only one may be looked at while recall is changed; reported is the
other one.
"""

import gzip
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from bench.memory_corpus import Corpus
from orlop.abi.memory import Item

Half = Literal["seen", "unseen"]

SEED = 7

FILE = Path("tau_bench") / "gpt-4o-airline.json.gz"
SPLITS = ((0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2))
"""The two times that are remembered; what is asked comes from the other two."""
TURN_WORDS_MIN = 8
"""Shorter turns ("yes, please") say nothing by themselves."""
TURN_CHARS_MAX = 1_500
QUESTIONS_A_TALK = 2
FLIGHTS_ASKED = 120


class Turn(Struct):
    role: str
    content: str | None = None


class Action(Struct):
    kwargs: dict[str, object]


class Task(Struct):
    user_id: str
    actions: list[Action]


class Info(Struct):
    task: Task


class Talk(Struct):
    """One trajectory."""

    task_id: int
    trial: int
    info: Info
    traj: list[Turn]

    @property
    def user(self) -> str:
        return self.info.task.user_id


class Flight(Struct):
    flight_number: str
    origin: str
    destination: str
    date: str


class Person(Struct):
    first_name: str
    last_name: str


class Reservation(Struct):
    reservation_id: str
    user_id: str
    flight_type: str
    origin: str
    destination: str
    cabin: str
    flights: list[Flight]
    passengers: list[Person]
    total_baggages: int
    insurance: str
    status: str | None = None


class Address(Struct):
    city: str


class Profile(Struct):
    name: Person
    address: Address
    email: str
    dob: str
    membership: str
    payment_methods: dict[str, object]
    reservations: list[str]


def corpus(
    data: Path, half: Half, early: tuple[int, int] = SPLITS[0], *, quick: bool = False
) -> Corpus:
    """All travellers are remembered, as they lived two of the times; asked is about one half."""
    whole = gzip.decompress((data / FILE).read_bytes())
    talks = msgspec.json.decode(whole, type=list[Talk])
    talks.sort(key=lambda talk: (talk.trial, talk.task_id))
    who = sorted({talk.user for talk in talks})
    asked = set(who[(half == "unseen") :: 2])
    made = Corpus()
    told = [talk for talk in talks if talk.trial in early]
    newest: dict[str, str] = {}
    for talk in told:
        _remember(made, talk, newest)
    made.stale -= set(newest.values())
    later = [talk for talk in talks if talk.trial not in early and talk.user in asked]
    for talk in later[:: 3 if quick else 1]:
        _ask_again(made, talk, told)
        _ask_which(made, talk, newest)
    _ask_exactly(made, newest, asked)
    return made


def _remember(made: Corpus, talk: Talk, newest: dict[str, str]) -> None:
    for role, text in _turns(talk):
        said = "said" if role == "user" else "was told"
        made.items.append(Item(text=f"{talk.user} {said}: {text[:TURN_CHARS_MAX]}"))
    for key, text in _facts(talk):
        if newest.get(key) == text:
            continue
        if key in newest:
            made.stale.add(newest[key])
        newest[key] = text
        made.items.append(Item(text=text, key=key, kind=key.partition(" ")[0]))


def _ask_again(made: Corpus, talk: Talk, told: Sequence[Talk]) -> None:
    """What this traveller said before, asked for in the words of another time."""
    user = talk.user
    answers = [
        f"{user} said: {text[:TURN_CHARS_MAX]}"
        for earlier in told
        if earlier.user == user
        for text in _telling(earlier)
    ]
    for text in _telling(talk)[:QUESTIONS_A_TALK]:
        made.ask("said before, in other words", text, *answers, group=user)


def _ask_which(made: Corpus, talk: Talk, newest: Mapping[str, str]) -> None:
    """The reservations that the task is about, asked for by what the traveller says."""
    user = talk.user
    meant = {
        str(action.kwargs["reservation_id"])
        for action in talk.info.task.actions
        if "reservation_id" in action.kwargs
    }
    answers = [newest[f"reservation {id}"] for id in sorted(meant) if f"reservation {id}" in newest]
    if answers:
        for text in _telling(talk)[:QUESTIONS_A_TALK]:
            made.ask(
                "which reservation is meant",
                f"{user}: {text}",
                *answers,
                group=user,
                kinds=("reservation",),
            )


def _ask_exactly(made: Corpus, newest: Mapping[str, str], asked: set[str]) -> None:
    """A flight of somebody, by its number; and what was changed, by its reservation's."""
    chance = random.Random(SEED)
    pairs: list[tuple[str, str, str]] = []
    for key, text in sorted(newest.items()):
        user = _whose(text)
        if not key.startswith("reservation ") or user not in asked:
            continue
        pairs += [(user, flight, text) for flight in sorted(set(re.findall(r"HAT\d+", text)))]
        if any(key in stale for stale in made.stale):
            question = f"how does {key.replace('reservation', 'booking')} stand now?"
            made.ask("changed since", question, text, group=user, kinds=("reservation",))
    for user, flight, _ in chance.sample(pairs, min(FLIGHTS_ASKED, len(pairs))):
        answers = [text for whose, number, text in pairs if (whose, number) == (user, flight)]
        made.ask("by its number", f"which trip of {user} takes {flight}?", *answers, group=user)


def _facts(talk: Talk) -> Iterator[tuple[str, str]]:
    """Reservations and profiles, as their tools showed them: keys and sentences."""
    for turn in talk.traj:
        if turn.role != "tool" or not (turn.content or "").startswith("{"):
            continue
        shown = msgspec.json.decode(turn.content or "", type=dict[str, object])
        if "reservation_id" in shown:
            one = msgspec.convert(shown, Reservation)
            yield f"reservation {one.reservation_id}", _reservation(one)
        elif "membership" in shown:
            yield f"profile {talk.user}", _profile(talk.user, msgspec.convert(shown, Profile))


def _reservation(one: Reservation) -> str:
    flights = ", ".join(
        f"{flight.flight_number} from {flight.origin} to {flight.destination} on {flight.date}"
        for flight in one.flights
    )
    people = ", ".join(f"{person.first_name} {person.last_name}" for person in one.passengers)
    trip, cabin = one.flight_type.replace("_", " "), one.cabin.replace("_", " ")
    return (
        f"reservation {one.reservation_id} of {one.user_id}, {trip} from {one.origin} to"
        f" {one.destination}, {cabin}, flights {flights}; for {people}; {one.total_baggages} bags,"
        f" insurance {one.insurance}, {one.status or 'active'}"
    )


def _profile(user: str, one: Profile) -> str:
    return (
        f"{user} is {one.name.first_name} {one.name.last_name} of {one.address.city},"
        f" {one.membership} member, born {one.dob}, mail {one.email}, pays with"
        f" {', '.join(one.payment_methods)}, reservations {', '.join(one.reservations)}"
    )


def _turns(talk: Talk) -> Iterator[tuple[str, str]]:
    for turn in talk.traj:
        if turn.role in ("user", "assistant") and turn.content:
            yield turn.role, turn.content


def _telling(talk: Talk) -> list[str]:
    """What the traveller said, but for the shortest turns."""
    return [
        text
        for role, text in _turns(talk)
        if role == "user" and len(text.split()) >= TURN_WORDS_MIN
    ]


def _whose(text: str) -> str:
    found = re.search(r"reservation \w+ of (\w+)", text)
    return found[1] if found else ""
