"""Recall finds the right thing, and never gives what is no longer true.

Generated facts about two worlds (`memory_corpus`) and long conversations from recorded trajectories
(`memory_conversations`).  The same store answers in three ways: by words alone, by meaning alone,
by both with age.  Embeddings: the local MiniLM.  Intervals are of 95 %, by drawing the people that
questions are about anew, again and again: questions about one are alike.

Recall was changed by looking at `--half seen` only; what is reported is the rest.  Conversations
are told of for all travellers too: decision 69 has why that is fair.
"""

import argparse
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import numpy.typing
import uvloop
from msgspec.structs import replace

from bench import memory_conversations
from bench.memory_corpus import (
    CUSTOMERS,
    PEOPLE,
    SEEN,
    UNSEEN,
    Corpus,
    Question,
    crowded,
    generated,
)
from bench.report import Report, begin, finish, kernel
from orlop import assembly
from orlop.abi.calls import Call, Embed, Spawn
from orlop.abi.ids import DEFAULT_TENANT, ModelName
from orlop.abi.memory import Item, Recall, Recalled, Remember, SearchMode
from orlop.abi.replies import Delta, Vectors
from orlop.devices.fake import FakeConfig
from orlop.drivers import engines as drivers
from orlop.kernel import syscall
from orlop.machine.settings import default_models_dir
from orlop.settings import Settings
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle

Floats = numpy.typing.NDArray[numpy.float64]

DATA = Path("../shared/data")
WAYS: tuple[SearchMode, ...] = ("words", "dense", "fused")
TOP = 10
MODEL = ModelName("minilm")
SEED = 7
DRAWS = 2_000
EXPECTED = "fused above both others, its interval too; no stale fact given as current"


async def measure(
    report: Report, quick: bool, data: Path = DATA, half: memory_conversations.Half = "unseen"
) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        print("  left out: no onnxruntime for the embedding model")
        return
    if not (default_models_dir() / "minilm").exists():
        print("  left out: `orlop pull minilm` brings the model that this needs")
        return
    draws = SEEN if half == "seen" else UNSEEN
    for world in (PEOPLE,) if half == "seen" else (PEOPLE, CUSTOMERS):
        print(f"\ngenerated facts about {world.name}, {half} seeds")
        answers = Answers()
        for draw in draws[1:3] if quick else draws:
            await answers.ask(generated(world, draw), draw.crowd)
        _told(report, f"facts about {world.name}", answers)
    print(f"\nlong conversations, travellers of the {half} half")
    if not (data / memory_conversations.FILE).exists():
        print(
            f"  left out: {data / memory_conversations.FILE} is absent; --data DIR names a folder"
        )
        return
    await conversations(report, quick, data, half)


async def conversations(
    report: Report, quick: bool, data: Path, half: memory_conversations.Half
) -> None:
    answers = Answers()
    for early in memory_conversations.SPLITS[: 1 if quick else None]:
        await answers.ask(memory_conversations.corpus(data, half, early, quick=quick))
    _told(report, "conversations", answers)
    if half == "unseen" and not quick:
        for early in memory_conversations.SPLITS:
            await answers.ask(memory_conversations.corpus(data, "seen", early))
        _told(report, "conversations, all travellers", answers)


@dataclass
class Answers:
    """Of all questions that were asked about some corpora."""

    memories: int = 0
    stale: int = 0
    """Facts given as current that are not."""
    questions: list[Question] = field(default_factory=list)
    """Those that something answers."""
    ranks: dict[SearchMode, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    """One over the place of the first answer, of each of them."""
    vectors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Of every text that was embedded once."""

    async def ask(self, made: Corpus, crowd: int = 0) -> None:
        """crowd: memories of others that lie in the same store."""
        async with kernel(FakeConfig(embed_models=())) as built:
            await _with_minilm(built)
            for projection in built.projections:
                built.tasks.start(projection.run(), "projection")
            process = await lifecycle.create(built, Spawn(command=(), name="a"), DEFAULT_TENANT)
            await lifecycle.start(built, process, "first")
            texts = [*(item.text for item in made.items), *(one.text for one in made.questions)]
            await self._embed(built, process, list(dict.fromkeys(texts)))
            known = [
                replace(item, vector=self.vectors[item.text], vector_model=MODEL)
                for item in made.items
            ]
            for items in _groups(known, 50):
                await _call(built, process, Remember(items=items))
            for items in _groups(crowded(crowd), 500):
                await _call(built, process, Remember(items=items, namespace="others", embed=False))
            self.memories += len(made.items)
            self.questions += [question for question in made.questions if question.answers]
            for question in made.questions:
                for way in WAYS:
                    await self._ask(built, process, made, question, way)

    async def _embed(self, built: Kernel, process: Process, texts: Sequence[str]) -> None:
        new = [text for text in texts if text not in self.vectors]
        for start in range(0, len(new), 50):
            part = tuple(new[start : start + 50])
            done = await _call(built, process, Embed(model=MODEL, inputs=part))
            assert isinstance(done, Vectors)
            self.vectors.update(zip(part, done.vectors, strict=True))

    async def _ask(
        self, built: Kernel, process: Process, made: Corpus, question: Question, way: SearchMode
    ) -> None:
        call = Recall(
            query=question.text,
            mode=way,
            limit=TOP,
            kinds=question.kinds,
            vector=self.vectors[question.text],
            vector_model=MODEL,
        )
        found = await _call(built, process, call)
        assert isinstance(found, Recalled)
        texts = [one.text for one in found.memories]
        self.stale += len(made.stale.intersection(texts))
        if question.answers:
            places = [at for at, text in enumerate(texts, start=1) if text in question.answers]
            self.ranks[way].append(1 / places[0] if places else 0.0)


def _groups(items: Sequence[Item], size: int) -> Iterator[tuple[Item, ...]]:
    for start in range(0, len(items), size):
        yield tuple(items[start : start + size])


async def _with_minilm(built: Kernel) -> None:
    """The local model, as `orlop up` finds it."""
    settings = Settings()
    power = assembly.Power(
        home=Path("/nonexistent"),
        settings=settings,
        url="",
        socket_path="",
        lifeline=-1,
        supervisor_pid=None,
        listeners=(),
    )
    shop = assembly.workshop(power, built.clock, built.chance)
    for engine in drivers.found(shop, settings.engines):
        if engine.name == "minilm":
            built.registry.add(engine)
            await engine.start()
            built.registry.learn(engine.name, await engine.models())


def _told(report: Report, name: str, answers: Answers) -> None:
    asked = answers.questions
    report.add(f"{name}: memories", answers.memories, "")
    report.add(f"{name}: questions", len(asked), "")
    by_way = {way: numpy.array(answers.ranks[way]) for way in WAYS}
    kinds = numpy.array([question.kind for question in asked])
    for kind in dict.fromkeys(kinds.tolist()):
        for way in WAYS:
            report.add(f"{name}: MRR, {kind}, by {way}", by_way[way][kinds == kind].mean(), "")
    for way in WAYS:
        goal = "> both others" if way == "fused" else ""
        report.add(f"{name}: MRR, all questions, by {way}", by_way[way].mean(), "", goal)
    for way in ("words", "dense"):
        gain = by_way["fused"] - by_way[way]
        low, high = _interval(gain, asked)
        report.add(f"{name}: fused over {way} alone", gain.mean(), "", "> 0")
        report.add(f"{name}: fused over {way} alone, from", low, "", "> 0")
        report.add(f"{name}: fused over {way} alone, to", high, "")
    report.add(f"{name}: stale facts given as current", answers.stale, "", "0")


def _interval(values: Floats, questions: Sequence[Question]) -> tuple[float, float]:
    """Of the mean, when whole groups are drawn anew."""
    chance = numpy.random.default_rng(SEED)
    names = numpy.array([question.group for question in questions])
    groups = [values[names == name] for name in sorted(set(names.tolist()))]
    sums = numpy.array([group.sum() for group in groups])
    counts = numpy.array([len(group) for group in groups])
    drawn = chance.integers(0, len(groups), (DRAWS, len(groups)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return float(numpy.quantile(means, 0.025)), float(numpy.quantile(means, 0.975))


async def _call(built: Kernel, process: Process, call: Call) -> object:
    async for reply in syscall.enter(built, process, call).replies:
        if not isinstance(reply, Delta):
            return reply
    raise AssertionError("no end")


def main() -> None:
    assert __doc__
    question = "Does recall find the right thing, and nothing that is no longer true?"
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="fewer questions, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with `tau_bench/`")
    parser.add_argument("--half", choices=("seen", "unseen"), default="unseen")
    given = parser.parse_args()
    report = begin(question, EXPECTED)
    uvloop.run(measure(report, given.quick, given.data, given.half))
    finish(report, given.json)


if __name__ == "__main__":
    main()
