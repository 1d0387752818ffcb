"""The system's entropy is asked for many bytes at once; none of them is given out twice."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from orlop.machine.chance import SystemChance


def test_no_bytes_are_given_out_twice_whatever_their_number() -> None:
    chance = SystemChance()
    tokens = [chance.token(length) for length in (16, 24, 4_000, 5_000, 16) * 500]
    assert len(set(tokens)) == len(tokens)
    assert {len(token) for token in tokens} == {16, 24, 4_000, 5_000}


def test_threads_share_no_bytes() -> None:
    chance = SystemChance()
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda _: chance.token(12), range(20_000)))
    assert len(set(tokens)) == len(tokens)


def test_a_forked_child_starts_afresh() -> None:
    chance = SystemChance()
    chance.token(1)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(chance.token(16)))
    child.start()
    told: object = ours.recv()
    child.join()
    assert told != chance.token(16)
