"""Recall finds the right thing, and never gives what is no longer true.

Two corpora: generated facts (`memory_corpus`) and long conversations from recorded trajectories
(`memory_conversations`).  The same store answers in three ways: by words alone, by meaning alone,
by both with age.  Embeddings: the local MiniLM.  Intervals are of 95 %, by drawing the people that
questions are about anew, again and again: questions about one are alike.
"""

import argparse
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy
import numpy.typing
import uvloop

from bench import memory_conversations
from bench.memory_corpus import NAMES, SEED, Corpus, Question, generated
from bench.report import Report, begin, finish, kernel
from orlop import assembly
from orlop.abi.calls import Call, Spawn
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.memory import Recall, Recalled, Remember, SearchMode
from orlop.abi.replies import Delta
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
    print("\nfacts that were generated")
    await _corpus(report, generated(12 if quick else len(NAMES)), "facts")
    print(f"\nlong conversations, travellers of the {half} half")
    if not (data / memory_conversations.FILE).exists():
        print(
            f"  left out: {data / memory_conversations.FILE} is absent; --data DIR names a folder"
        )
        return
    for swapped in (False, True)[: 1 if quick else 2]:
        made = memory_conversations.corpus(data, half, quick=quick, swapped=swapped)
        await _corpus(report, made, "conversations, swapped" if swapped else "conversations")


async def _corpus(report: Report, made: Corpus, name: str) -> None:
    report.add(f"{name}: memories", len(made.items), "")
    report.add(f"{name}: questions", len(made.questions), "")
    async with kernel(FakeConfig(embed_models=())) as built:
        await _with_minilm(built)
        for projection in built.projections:
            built.tasks.start(projection.run(), "projection")
        process = await lifecycle.create(built, Spawn(command=(), name="reader"), DEFAULT_TENANT)
        await lifecycle.start(built, process, "first")
        for start in range(0, len(made.items), 50):
            await _call(built, process, Remember(items=tuple(made.items[start : start + 50])))
        ranks, given_stale = {}, 0
        for way in WAYS:
            ranks[way], stale = await _asked(built, process, made, way)
            given_stale += stale
    _told(report, name, made, ranks)
    report.add(f"{name}: stale facts given as current", given_stale, "", "0")


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


async def _asked(
    built: Kernel, process: Process, made: Corpus, way: SearchMode
) -> tuple[list[float], int]:
    """One over the place of the first answer, of each question; and how much was stale."""
    ranks: list[float] = []
    stale = 0
    for question in made.questions:
        call = Recall(query=question.text, mode=way, limit=TOP, kinds=question.kinds)
        found = await _call(built, process, call)
        assert isinstance(found, Recalled)
        texts = [one.text for one in found.memories]
        stale += len(made.stale.intersection(texts))
        places = [place for place, text in enumerate(texts, start=1) if text in question.answers]
        ranks.append(1 / places[0] if places else 0.0)
    return ranks, stale


def _told(
    report: Report, name: str, made: Corpus, ranks: Mapping[SearchMode, Sequence[float]]
) -> None:
    asked = [(at, one) for at, one in enumerate(made.questions) if one.answers]
    by_way = {way: numpy.array([ranks[way][at] for at, _ in asked]) for way in WAYS}
    kinds = numpy.array([question.kind for _, question in asked])
    for kind in dict.fromkeys(kinds.tolist()):
        for way in WAYS:
            report.add(f"{name}: MRR, {kind}, by {way}", by_way[way][kinds == kind].mean(), "")
    for way in WAYS:
        goal = "> both others" if way == "fused" else ""
        report.add(f"{name}: MRR, all questions, by {way}", by_way[way].mean(), "", goal)
    for way in ("words", "dense"):
        gain = by_way["fused"] - by_way[way]
        low, high = _interval(gain, [question for _, question in asked])
        report.add(f"{name}: fused over {way} alone", gain.mean(), "", "> 0")
        report.add(f"{name}: fused over {way} alone, from", low, "", "> 0")
        report.add(f"{name}: fused over {way} alone, to", high, "")


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
