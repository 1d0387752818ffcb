"""Whether recall finds the right thing, and never gives what is no longer true.

A generated corpus about 40 people, from a fixed seed: facts that are asked for in other words,
numbers and names that only their own spelling finds, facts that were superseded, contradicted by
later ones, or have expired.  The same store answers in three ways: by words alone, by meaning
alone, by both with age.  Embeddings: the local MiniLM.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import Report, kernel
from orlop import boot
from orlop.abi.calls import Call, Spawn
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.memory import Item, Recall, Recalled, Remember, SearchMode
from orlop.abi.replies import Delta
from orlop.devices.fake import FakeConfig
from orlop.drivers import engines as drivers
from orlop.kernel import syscall
from orlop.machine.settings import default_models_dir
from orlop.settings import Settings
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle

SEED = 7
WAYS: tuple[SearchMode, ...] = ("words", "dense", "fused")

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


@dataclass
class Corpus:
    items: list[Item] = field(default_factory=list)
    questions: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By class: what is asked, and the text that answers it."""
    stale: set[str] = field(default_factory=set)
    """Texts that must never be given as current."""

    def ask(self, kind: str, question: str, answer: str) -> None:
        self.questions.setdefault(kind, []).append((question, answer))


def corpus(people: int) -> Corpus:
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
        made.ask("paraphrased", question.format(name=name), said)


def _exact(made: Corpus, chance: random.Random, name: str) -> None:
    """Only the number tells one from another."""
    for what in ("invoice", "parcel", "contract"):
        number = f"{what[:3].upper()}-{chance.randrange(10_000, 99_999)}"
        said = f"{what} {number} of {name} was sent back because the address was wrong"
        made.items.append(Item(text=said))
        made.ask("exact", f"what happened to {number}?", said)


def _superseded(made: Corpus, chance: random.Random, name: str) -> None:
    """Three homes, one after another, under one key."""
    towns = chance.sample(TOWNS, 3)
    for town in towns:
        made.items.append(Item(text=f"{name} lives in {town}", key=f"{name} home"))
    made.stale |= {f"{name} lives in {town}" for town in towns[:-1]}
    made.ask("superseded", f"in which town is {name} at home?", f"{name} lives in {towns[-1]}")


def _contradicted(made: Corpus, chance: random.Random, names: Sequence[str]) -> None:
    """A later fact without a key: both stand, and the newer one should come first."""
    for name in names:
        old, new = chance.sample(range(100, 999), 2)
        made.items.append(Item(text=f"the desk phone of {name} is extension {old}"))
    for name in names:
        new = chance.randrange(100, 999)
        said = f"the desk phone of {name} is now extension {new}"
        made.items.append(Item(text=said))
        made.ask("contradicted", f"what is the extension of the desk phone of {name}?", said)


def _expired(made: Corpus, chance: random.Random, name: str) -> None:
    code = chance.randrange(1_000, 9_999)
    said = f"the door code of {name} is {code}"
    made.items.append(Item(text=said, ttl_s=1e-6))
    made.stale.add(said)
    made.ask("expired", f"what is the door code of {name}?", "")


async def measure(report: Report, quick: bool) -> None:
    if not (default_models_dir() / "minilm").exists():
        print("  left out: `orlop pull minilm` brings the model that this needs")
        return
    made = corpus(12 if quick else len(NAMES))
    async with kernel(FakeConfig(embed_models=())) as built:
        await _with_minilm(built)
        for projection in built.projections:
            built.tasks.start(projection.run(), "projection")
        process = await lifecycle.create(built, Spawn(command=(), name="reader"), DEFAULT_TENANT)
        await lifecycle.start(built, process, "first")
        for start in range(0, len(made.items), 50):
            await _call(built, process, Remember(items=tuple(made.items[start : start + 50])))
        await _judge(report, built, process, made)


async def _with_minilm(built: Kernel) -> None:
    """The local model, as `orlop up` finds it."""
    settings = Settings()
    power = boot.Power(
        home=Path("/nonexistent"),
        settings=settings,
        url="",
        socket_path="",
        lifeline=-1,
        supervisor_pid=None,
        listeners=(),
    )
    shop = boot.workshop(power, built.clock, built.chance)
    for engine in drivers.found(shop, settings.engines):
        if engine.name == "minilm":
            built.registry.add(engine)
            await engine.start()
            built.registry.learn(engine.name, await engine.models())


async def _judge(report: Report, built: Kernel, process: Process, made: Corpus) -> None:
    given_stale, whole = 0, dict[str, float]()
    for way in WAYS:
        ranks: dict[str, list[float]] = {}
        for kind, questions in made.questions.items():
            for question, answer in questions:
                found = await _call(built, process, Recall(query=question, mode=way, limit=10))
                assert isinstance(found, Recalled)
                texts = [one.text for one in found.memories]
                given_stale += len(made.stale.intersection(texts))
                if answer:
                    place = texts.index(answer) + 1 if answer in texts else 0
                    ranks.setdefault(kind, []).append(1 / place if place else 0.0)
        for kind, values in ranks.items():
            report.add(f"MRR, {kind}, by {way}", sum(values) / len(values), "")
        every = [value for values in ranks.values() for value in values]
        whole[way] = sum(every) / len(every)
    for way in WAYS:
        goal = "> both others" if way == "fused" else ""
        report.add(f"MRR, all questions, by {way}", whole[way], "", goal)
    report.add("stale facts given as current", given_stale, "", "0")


async def _call(built: Kernel, process: Process, call: Call) -> object:
    async for reply in syscall.enter(built, process, call).replies:
        if not isinstance(reply, Delta):
            return reply
    raise AssertionError("no end")
