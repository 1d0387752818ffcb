"""What recall is judged on: memories, questions, what answers them, and what is no longer true.

Facts about people and about customers, generated from seeds: facts that are asked for in other
words, numbers and names that only their own spelling finds, facts that were superseded,
contradicted by later ones, or have expired.

How recall orders what it finds was chosen on `PEOPLE` with the seeds `SEEN`.  `CUSTOMERS` was
written before and not looked at; its facts and questions share no sentence with those of people.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.memory import Item


@dataclass(frozen=True, slots=True)
class Draw:
    """One corpus: from a seed, about so many, while others keep so many in the same store.

    Of all three depends which words are rare.
    """

    seed: int
    count: int
    crowd: int = 0


SEEN: Final = (Draw(11, 40), Draw(12, 40, 20_000), Draw(13, 12), Draw(14, 12, 20_000))
UNSEEN: Final = (Draw(7, 40), Draw(21, 40, 20_000), Draw(22, 12), Draw(23, 12, 20_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A sentence about {name} with a {value}, and how somebody asks for it."""

    text: str
    question: str
    values: Sequence[str] = ()
    later: str = ""
    """The sentence that contradicts it, where one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Whom facts are about, and which there are of each."""

    name: str
    names: tuple[str, ...]
    paraphrased: tuple[Fact, ...]
    """Asked for in words that the fact does not have."""
    exact: Fact
    """Its values are beginnings of numbers, and only the number tells one from another."""
    named: Fact
    """The same with a name that is said once, and has no digits."""
    superseded: Fact
    """Three values, one after another, under one key."""
    contradicted: Fact
    """A later fact without a key: both stand, and the newer one should come first."""
    expired: Fact


@dataclass(frozen=True, slots=True)
class Question:
    """answers: texts, of which one is enough; none: nothing may be found that is stale.

    group: questions that are of a kind, and count together where chance is reckoned with.
    """

    kind: str
    text: str
    answers: frozenset[str]
    group: str
    kinds: tuple[str, ...] = ()


@dataclass
class Corpus:
    items: list[Item] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)
    """Texts that must never be given as current."""

    def ask(
        self, kind: str, text: str, *answers: str, group: str, kinds: tuple[str, ...] = ()
    ) -> None:
        self.questions.append(Question(kind, text, frozenset(answers), group, kinds))


PEOPLE: Final = World(
    name="people",
    names=(
        *("Ann", "Bob", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jon", "Kira"),
        *("Lars", "Mona", "Nils", "Olga", "Paul", "Quin", "Rosa", "Sven", "Tara", "Ugo", "Vera"),
        *("Wim", "Xena", "Yves", "Zoe", "Abel", "Bea", "Carl", "Dora", "Emil", "Fay", "Gus"),
        *("Hana", "Ivo", "Jana", "Kurt", "Lea", "Max", "Nora"),
    ),
    paraphrased=(
        Fact(
            text="{name} has {value} at home",
            question="which animal lives with {name}?",
            values=(
                "a tabby cat",
                "an old labrador",
                "two goldfish",
                "a grey parrot",
                "a tortoise",
            ),
        ),
        Fact(
            text="{name} works as a {value}",
            question="what does {name} do for a living?",
            values=(
                *("nurse", "welder", "baker", "pilot", "teacher", "lawyer", "plumber", "chemist"),
            ),
        ),
        Fact(
            text="{name} likes to eat {value}",
            question="favourite dish of {name}",
            values=(
                *("noodles with prawns", "mushroom risotto", "lentil curry", "apple pie"),
                "grilled trout",
            ),
        ),
        Fact(
            text="{name} spends weekends {value}",
            question="what hobby does {name} have?",
            values=("climbing", "rowing", "fencing", "chess", "judo"),
        ),
    ),
    exact=Fact(
        text="{what} {value} of {name} was sent back because the address was wrong",
        question="what happened to {value}?",
        values=("invoice", "parcel", "contract"),
    ),
    named=Fact(
        text="{name} leads the project {value}, which began in spring",
        question="who is in charge of {value}?",
        values=(
            *("Larkspur", "Foxglove", "Juniper", "Bramble", "Saffron", "Hemlock", "Clover"),
            *("Thistle", "Sorrel", "Yarrow", "Lupin", "Nettle", "Tansy", "Borage", "Fennel"),
            *("Hyssop", "Campion", "Teasel", "Vetch", "Bryony", "Aster", "Mallow", "Sedge"),
            *("Gorse", "Heather", "Myrtle", "Laurel", "Alder", "Rowan", "Hazel", "Willow"),
            *("Spruce", "Larch", "Acacia", "Banyan", "Mulberry", "Quince", "Medlar", "Damson"),
            "Bilberry",
        ),
    ),
    superseded=Fact(
        text="{name} lives in {value}",
        question="in which town is {name} at home?",
        values=(
            *("Bern", "Basel", "Biel", "Baden", "Chur", "Zug", "Thun", "Aarau", "Sion", "Olten"),
        ),
    ),
    contradicted=Fact(
        text="the desk phone of {name} is extension {value}",
        later="the desk phone of {name} is now extension {value}",
        question="what is the extension of the desk phone of {name}?",
        values=tuple(map(str, range(100, 999))),
    ),
    expired=Fact(
        text="the door code of {name} is {value}",
        question="what is the door code of {name}?",
        values=tuple(map(str, range(1_000, 9_999))),
    ),
)

CUSTOMERS: Final = World(
    name="customers",
    names=(
        *("Hotel Krone", "Hotel Adler", "Bakery Moser", "Bakery Huber", "Garage Keller"),
        *("Garage Brunner", "Clinic Seeblick", "Clinic Waldhof", "Brandt & Sons", "Otto Frei AG"),
        *("Lindt Logistics", "Alpine Freight", "Northwind Foods", "Sunrise Dairy", "Delta Print"),
        *(
            "Omega Tools",
            "Studio Nova",
            "Casa Verde",
            "Villa Rossa",
            "Blue Harbour",
            "Green Valley",
        ),
        *("Red Barn Farm", "Old Mill Brewery", "Silver Lake Spa", "Golden Gate Travel"),
        *("City Museum", "County Library", "St. Anna School", "Riverside Gym", "Harbour Fish"),
        *("Maple Furniture", "Cedar Homes", "Pine Tree Camp", "Fox & Hare Pub", "Lion Insurance"),
        *("Eagle Security", "Tiger Sports", "Falcon Air", "Beaver Plumbing", "Owl Books"),
    ),
    paraphrased=(
        Fact(
            text="{name} settles its bills by {value}",
            question="how do we get our money from {name}?",
            values=("standing order", "cheque", "credit card", "direct debit", "bank transfer"),
        ),
        Fact(
            text="couriers should leave goods for {name} {value}",
            question="where is a delivery to {name} to be dropped off?",
            values=(
                *("at the loading dock", "with the porter", "behind the garage", "in the cellar"),
                "at the reception desk",
            ),
        ),
        Fact(
            text="{name} was unhappy about {value}",
            question="which complaint did {name} make?",
            values=(
                *("broken packaging", "a rude driver", "late shipments", "a wrong colour"),
                "noise during the installation",
            ),
        ),
        Fact(
            text="nobody answers the door at {name} on {value}",
            question="when is {name} closed?",
            values=("Mondays", "Tuesdays", "Wednesday afternoons", "public holidays", "Sundays"),
        ),
        Fact(
            text="the owner of {name} enjoys {value}",
            question="what small talk would please the boss of {name}?",
            values=("opera", "sailing", "growing roses", "old motorcycles", "football", "skiing"),
        ),
    ),
    exact=Fact(
        text="for {name} we booked {what} {value}, two pallets, on the truck of the north route",
        question="{value}: how did that one travel?",
        values=("order", "return", "sample"),
    ),
    named=Fact(
        text="the crates of {name} came over on the ship {value} and were fumigated",
        question="whose goods did the {value} carry?",
        values=(
            *("Aldebaran", "Antares", "Arcturus", "Bellatrix", "Betelgeuse", "Canopus", "Capella"),
            *("Deneb", "Fomalhaut", "Hadar", "Mizar", "Polaris", "Procyon", "Regulus", "Rigel"),
            *("Sirius", "Spica", "Vega", "Altair", "Mirach", "Alcor", "Algol", "Thuban", "Merak"),
            *("Dubhe", "Alioth", "Shaula", "Nunki", "Saiph", "Wezen", "Mirfak", "Elnath"),
            *("Alhena", "Avior", "Menkar", "Almach", "Schedar", "Caph", "Enif", "Markab"),
        ),
    ),
    superseded=Fact(
        text="the subscription of {name} is {value}",
        question="which tariff does {name} pay for?",
        values=("Basic", "Silver", "Gold", "Platinum", "Enterprise", "Starter", "Trial", "Team"),
    ),
    contradicted=Fact(
        text="questions about {name} go to {value}",
        later="{value} has taken over and answers questions about {name}",
        question="who answers questions about {name}?",
        values=(
            *("Miriam", "Jerome", "Petra", "Salma", "Viktor", "Anselm", "Birgit", "Cosimo"),
            *("Daria", "Egon", "Franca", "Gordon"),
        ),
    ),
    expired=Fact(
        text="{name} gets a discount of {value} percent this week",
        question="what discount does {name} get?",
        values=tuple(map(str, range(3, 40))),
    ),
)


def generated(world: World, draw: Draw) -> Corpus:
    chance = random.Random(draw.seed)
    made = Corpus()
    names = world.names[: draw.count]
    for name in names:
        _paraphrased(made, chance, world, name)
        _exact(made, chance, world.exact, name)
        _superseded(made, chance, world.superseded, name)
        _expired(made, chance, world.expired, name)
    _named(made, chance, world.named, names)
    _contradicted(made, chance, world.contradicted, names)
    return made


def crowded(count: int) -> list[Item]:
    """Sentences that mean nothing, of words that nobody else uses and of some that others do."""
    chance = random.Random(count)
    words = [f"w{number:04x}" for number in range(5_000)]
    words += ["lives", "works", "home", "phone", "town", "of"]
    return [Item(text=" ".join(chance.choices(words, k=9))) for _ in range(count)]


def _paraphrased(made: Corpus, chance: random.Random, world: World, name: str) -> None:
    for fact in world.paraphrased:
        said = fact.text.format(name=name, value=chance.choice(fact.values))
        made.items.append(Item(text=said))
        made.ask("paraphrased", fact.question.format(name=name), said, group=name)


def _exact(made: Corpus, chance: random.Random, fact: Fact, name: str) -> None:
    for what in fact.values:
        number = f"{what[:3].upper()}-{chance.randrange(10_000, 99_999)}"
        said = fact.text.format(name=name, what=what, value=number)
        made.items.append(Item(text=said))
        made.ask("exact", fact.question.format(value=number), said, group=name)


def _named(made: Corpus, chance: random.Random, fact: Fact, names: Sequence[str]) -> None:
    for name, value in zip(names, chance.sample(fact.values, len(names)), strict=True):
        said = fact.text.format(name=name, value=value)
        made.items.append(Item(text=said))
        made.ask("named", fact.question.format(value=value), said, group=name)


def _superseded(made: Corpus, chance: random.Random, fact: Fact, name: str) -> None:
    told = [fact.text.format(name=name, value=value) for value in chance.sample(fact.values, 3)]
    made.items += [Item(text=said, key=f"{name} superseded") for said in told]
    made.stale |= set(told[:-1])
    made.ask("superseded", fact.question.format(name=name), told[-1], group=name)


def _contradicted(made: Corpus, chance: random.Random, fact: Fact, names: Sequence[str]) -> None:
    pairs = {name: chance.sample(fact.values, 2) for name in names}
    for name, (old, _) in pairs.items():
        made.items.append(Item(text=fact.text.format(name=name, value=old)))
    for name, (_, new) in pairs.items():
        said = fact.later.format(name=name, value=new)
        made.items.append(Item(text=said))
        made.ask("contradicted", fact.question.format(name=name), said, group=name)


def _expired(made: Corpus, chance: random.Random, fact: Fact, name: str) -> None:
    said = fact.text.format(name=name, value=chance.choice(fact.values))
    made.items.append(Item(text=said, ttl_s=1e-6))
    made.stale.add(said)
    made.ask("expired", fact.question.format(name=name), group=name)
