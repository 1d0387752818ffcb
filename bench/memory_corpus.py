"""What recall is judged on: memories, questions, what answers them, and what is no longer true.

The generated one is about 40 people, from a fixed seed: facts that are asked for in other words,
numbers and names that only their own spelling finds, facts that were superseded, contradicted by
later ones, or have expired.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from orlop.abi.memory import Item

SEED = 7

NAMES = (
    *("Ann", "Bob", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jon", "Kira", "Lars"),
    *("Mona", "Nils", "Olga", "Paul", "Quin", "Rosa", "Sven", "Tara", "Ugo", "Vera", "Wim"),
    *("Xena", "Yves", "Zoe", "Abel", "Bea", "Carl", "Dora", "Emil", "Fay", "Gus", "Hana"),
    *("Ivo", "Jana", "Kurt", "Lea", "Max", "Nora"),
)
TOWNS = ["Bern", "Basel", "Biel", "Baden", "Chur", "Zug", "Thun", "Aarau", "Sion", "Olten"]
JOBS = ["nurse", "welder", "baker", "pilot", "teacher", "lawyer", "plumber", "chemist"]
PETS = ["a tabby cat", "an old labrador", "two goldfish", "a grey parrot", "a tortoise"]
FOODS = ["noodles with prawns", "mushroom risotto", "lentil curry", "apple pie", "grilled trout"]
SPORTS = ["climbing", "rowing", "fencing", "chess", "judo"]

PARAPHRASED = (
    ("{name} has {pet} at home", "which animal lives with {name}?", PETS, "pet"),
    ("{name} works as a {job}", "what does {name} do for a living?", JOBS, "job"),
    ("{name} likes to eat {food}", "favourite dish of {name}", FOODS, "food"),
    ("{name} spends weekends {sport}", "what hobby does {name} have?", SPORTS, "sport"),
)


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


def generated(people: int) -> Corpus:
    chance = random.Random(SEED)
    made = Corpus()
    for name in NAMES[:people]:
        _paraphrased(made, chance, name)
        _exact(made, chance, name)
        _superseded(made, chance, name)
        _expired(made, chance, name)
    _contradicted(made, chance, NAMES[:people])
    return made


def _paraphrased(made: Corpus, chance: random.Random, name: str) -> None:
    """Asked for in words that the fact does not have."""
    for text, question, values, slot in PARAPHRASED:
        said = text.format(name=name, **{slot: chance.choice(values)})
        made.items.append(Item(text=said))
        made.ask("paraphrased", question.format(name=name), said, group=name)


def _exact(made: Corpus, chance: random.Random, name: str) -> None:
    """Only the number tells one from another."""
    for what in ("invoice", "parcel", "contract"):
        number = f"{what[:3].upper()}-{chance.randrange(10_000, 99_999)}"
        said = f"{what} {number} of {name} was sent back because the address was wrong"
        made.items.append(Item(text=said))
        made.ask("exact", f"what happened to {number}?", said, group=name)


def _superseded(made: Corpus, chance: random.Random, name: str) -> None:
    """Three homes, one after another, under one key."""
    towns = chance.sample(TOWNS, 3)
    for town in towns:
        made.items.append(Item(text=f"{name} lives in {town}", key=f"{name} home"))
    made.stale |= {f"{name} lives in {town}" for town in towns[:-1]}
    made.ask(
        "superseded",
        f"in which town is {name} at home?",
        f"{name} lives in {towns[-1]}",
        group=name,
    )


def _contradicted(made: Corpus, chance: random.Random, names: Sequence[str]) -> None:
    """A later fact without a key: both stand, and the newer one should come first."""
    for name in names:
        old, new = chance.sample(range(100, 999), 2)
        made.items.append(Item(text=f"the desk phone of {name} is extension {old}"))
    for name in names:
        new = chance.randrange(100, 999)
        said = f"the desk phone of {name} is now extension {new}"
        made.items.append(Item(text=said))
        made.ask(
            "contradicted", f"what is the extension of the desk phone of {name}?", said, group=name
        )


def _expired(made: Corpus, chance: random.Random, name: str) -> None:
    code = chance.randrange(1_000, 9_999)
    said = f"the door code of {name} is {code}"
    made.items.append(Item(text=said, ttl_s=1e-6))
    made.stale.add(said)
    made.ask("expired", f"what is the door code of {name}?", group=name)
