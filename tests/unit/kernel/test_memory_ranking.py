"""What a recall found, ordered anew by a model."""

import json
from collections.abc import Callable, Coroutine

import pytest
from memory_kernel import MemoryComputer, Mind
from small_kernel import Computer, on, program

from orlop.abi.calls import Infer
from orlop.abi.errors import Denied
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Choice
from orlop.devices.device import ALONE, Generated, Sink, Turn
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.memory.memories import MemoryConfig
from orlop.state.core import Kernel

PLACE = "common/places"
TEXTS = ("Ann was in Bern in May", "Ann lives in Basel", "Ann likes Bern", "Ann was born in Genoa")


class Reader(FakeEngine):
    """Names notes as `says` does of what it is shown."""

    says: Callable[[str], str] = staticmethod(lambda shown: "")
    shown: str = ""

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        self.shown = call.messages[-1].text()
        return Generated(choices=(Choice(Message("assistant", self.says(self.shown))),))


def story(
    scenario: Callable[[Mind, Reader], Coroutine[object, object, None]],
    says: Callable[[str], str] = lambda shown: "",
    memory: MemoryConfig = MemoryConfig(),  # noqa: B008 - it is frozen.
) -> None:
    async def told(computer: Computer, kernel: Kernel) -> None:
        mind = Mind(kernel, await program(kernel, name="clerk"))
        for text in TEXTS:
            await mind.remember(text, PLACE)
        assert isinstance(computer.engine, Reader)
        await scenario(mind, computer.engine)

    def computer() -> Computer:
        made = MemoryComputer(memory=memory)
        made.engine = Reader(
            EngineName("engine"), FakeConfig(), clock=made.clock, chance=made.chance
        )
        made.engine.says = says
        return made

    on(computer, told)


def number_of(text: str, shown: str) -> int:
    line = next(line for line in shown.splitlines() if line.endswith(text))
    return int(line[1 : line.index("]")])


def first(text: str) -> Callable[[str], str]:
    return lambda shown: f"Sure! {json.dumps({'order': [number_of(text, shown), 99, 99]})}"


def test_a_model_that_chats_reads_more_than_is_asked_for_and_names_the_best() -> None:
    async def scenario(mind: Mind, reader: Reader) -> None:
        found = await mind.recall(
            "Where does Ann live?", namespaces=(PLACE,), limit=2, rerank="fake"
        )
        assert found.memories[0].text == "Ann lives in Basel"
        assert len(found.memories) == 2 and "rerank:1" in found.memories[0].found_by
        assert "Where does Ann live?" in reader.shown and "Genoa" in reader.shown
        assert not found.note

    story(scenario, first("Ann lives in Basel"))


@pytest.mark.parametrize("says", ["I do not know", "{}", '{"order": "all"}', ""])
def test_an_answer_that_is_no_order_changes_nothing_and_is_told(says: str) -> None:
    async def scenario(mind: Mind, reader: Reader) -> None:
        how: dict[str, object] = {"namespaces": (PLACE,), "limit": 3}
        before = await mind.texts("Ann Bern", rerank="none", **how)
        found = await mind.recall("Ann Bern", rerank="fake", **how)
        assert [one.text for one in found.memories] == before
        assert "not ranked anew by fake" in found.note

    story(scenario, lambda shown: says)


def test_the_settings_name_a_model_and_a_recall_may_do_without() -> None:
    async def scenario(mind: Mind, reader: Reader) -> None:
        found = await mind.recall("Ann", namespaces=(PLACE,))
        assert found.memories[0].text == "Ann was born in Genoa"
        reader.shown = ""
        await mind.recall("Ann", namespaces=(PLACE,), rerank="none")
        await mind.recall(namespaces=(PLACE,))
        assert not reader.shown

    story(scenario, first("Ann was born in Genoa"), MemoryConfig(rerank_model="fake"))


def test_a_model_that_embeds_orders_by_its_own_cosines() -> None:
    async def scenario(mind: Mind, reader: Reader) -> None:
        found = await mind.recall("Ann likes Bern", namespaces=(PLACE,), rerank="fake-embed")
        scores = [one.score for one in found.memories]
        assert found.memories[0].text == "Ann likes Bern" and scores[0] > 0.99
        assert scores == sorted(scores, reverse=True) and not found.note

    story(scenario)


def test_a_model_that_is_not_there_is_told_and_one_without_a_right_is_refused() -> None:
    async def scenario(mind: Mind, reader: Reader) -> None:
        found = await mind.recall("Ann", namespaces=(PLACE,), rerank="nowhere")
        assert len(found.memories) == 4 and "nowhere" in found.note
        bound = ("memory:*", "model:fake-embed")
        narrow = Mind(mind.kernel, await program(mind.kernel, name="narrow", allow=bound))
        await narrow.recall("Ann", namespaces=(PLACE,), rerank="fake-embed")
        with pytest.raises(Denied, match="model:fake"):
            await narrow.recall("Ann", namespaces=(PLACE,), rerank="fake")

    story(scenario)
