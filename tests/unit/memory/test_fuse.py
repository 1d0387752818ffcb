"""The order that recall makes of what each way of searching found."""

import pytest
from memory_kernel import MemoryComputer, Mind
from small_kernel import Computer, on, program

from orlop.memory.fuse import fused
from orlop.memory.search import by_age
from orlop.state.core import Kernel

PLACE, ELSEWHERE = "common/talks", "common/notes"


def order(**lists: list[tuple[int, float]]) -> list[int]:
    ids = {id for pairs in lists.values() for id, _ in pairs}
    return [id for id, _, _ in fused({**lists, "newest": by_age(sorted(ids, reverse=True))}, 10)]


def test_a_word_that_another_shares_with_the_question_does_not_outdo_what_means_it() -> None:
    """`Which animal lives with Ann`: she has a tortoise, and lives in Bern."""
    tortoise, bern = 1, 2
    dense = [(tortoise, 0.50), (bern, 0.46), *((other, 0.1) for other in range(3, 30))]
    words = [(bern, 6.6), (tortoise, 4.9)]
    assert order(dense=dense, words=words)[:2] == [tortoise, bern]


def test_a_number_that_one_memory_has_outdoes_what_sounds_alike() -> None:
    meant, alike = 1, 2
    number = [(meant, 7.0)]
    assert order(dense=[(alike, 0.8)], words=number, numbers=number) == [meant, alike]


def test_of_what_fits_equally_well_the_newer_comes_first() -> None:
    assert order(dense=[(1, 0.71), (2, 0.70), (3, 0.2)]) == [2, 1, 3]
    assert order(words=[(1, 5.0), (2, 4.9)]) == [2, 1]


@pytest.mark.parametrize("others", [0, 400])
def test_how_short_others_keep_their_texts_does_not_change_which_of_mine_fits(others: int) -> None:
    """A turn of a conversation that has both words, and a note that has one."""
    turn = "I called because the second leg of my flight was moved and nobody told me, so I paid "
    turn += "for a hotel near the airport and a taxi back, and now I would like to have a refund"

    async def told(computer: Computer, kernel: Kernel) -> None:
        mind = Mind(kernel, await program(kernel, name="clerk"))
        await mind.remember(turn, PLACE)
        await mind.remember("a refund takes five days", PLACE)
        for number in range(20):
            await mind.remember(f"turn {number} of a talk about baggage and seats", PLACE)
        for number in range(others):
            await mind.remember(f"note {number}: the parcel is at the gate", ELSEWHERE)
        found = await mind.texts("flight refund", namespaces=(PLACE,), mode="words", limit=1)
        assert found == [turn]

    on(MemoryComputer, told)
