"""Bench D in virtual time: what the driver's line for a provider's limits is worth by itself.

The real `cloud` driver and its line, the mock provider and the clients of `bench.cloud_limits`, on
an event loop whose clock jumps: no socket, no journal, no machine that others keep busy.  So the
same seed has the same answer everywhere, and many more settings can be tried.
"""

import asyncio
import math
import random
import selectors
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from bench.cloud_jobs import LASTS_S, TOKENS_A_REQUEST, Arm, Client, Job, all_of, arm
from bench.mock_provider import Bucket, Provider, Reply, now_s
from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceBusy
from orlop.abi.ids import EngineName, ModelName, Nanoseconds
from orlop.abi.replies import Generated
from orlop.devices.device import ALONE, Sink, Turn
from orlop.devices.server import Heard
from orlop.drivers.anthropic import Anthropic
from orlop.drivers.cloud import Cloud, CloudTerms
from orlop.machine.chance import Chance, SeededChance
from orlop.machine.clock import Clock
from orlop.wire import problem
from orlop.wire.anthropic import (
    read_messages_request,
    read_messages_response,
    write_messages_request,
)

T = TypeVar("T")
PATIENT_S = 3_600.0
NAME, MODEL = EngineName("far"), ModelName("mock")


class _Jump(selectors.SelectSelector):
    """Asked to wait, it moves the clock instead."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and no timer is set")
        self.skipped_s += max(timeout, 0.0)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.skipped_s


class _LoopClock:
    def now_s(self) -> float:
        return now_s()

    def wall_ns(self) -> Nanoseconds:
        return Nanoseconds(int(now_s() * 1e9))

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class _Straight(Anthropic):
    """The driver without a socket between it and the provider."""

    def __init__(self, provider: Provider, heard: Heard, clock: Clock, chance: Chance) -> None:
        super().__init__(NAME, "http://mock", clock=clock, chance=chance)
        self._provider = provider
        self._heard = heard

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        body = write_messages_request(call, model, stream=False, output_tokens_max=1)
        reply = await self._provider.answer(self._marked(body))
        self._heard(reply.status, reply.headers)
        if reply.status != 200:
            told = problem.read_told(reply.body)
            raise problem.engine_problem(self.name, reply.status, reply.headers, told)
        return read_messages_response(reply.body, self.name)


class _VirtualCloud(Cloud):
    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        terms = CloudTerms(dialect="anthropic")
        super().__init__(NAME, "http://mock", terms, clock=_LoopClock(), chance=SeededChance(1))

    def _speaker(
        self, name: EngineName, url: str, clock: Clock, chance: Chance, key: str, limit_field: str
    ) -> Anthropic:
        return _Straight(self._provider, self._heard, clock, chance)


def virtually(scenario: Coroutine[object, object, T]) -> T:
    loop = _Loop()
    try:
        return loop.run_until_complete(scenario)
    finally:
        loop.close()


async def without(todo: Sequence[Job], provider: Provider, seed: int) -> Arm:
    async def post(name: str, body: bytes) -> Reply:
        return await provider.answer(body)

    client = Client(post, True, random.Random(seed))
    return arm(todo, await all_of(todo, client), client, provider.stats())


async def with_line(todo: Sequence[Job], provider: Provider, seed: int) -> Arm:
    cloud = _VirtualCloud(provider)

    async def post(name: str, body: bytes) -> Reply:
        call = read_messages_request(body)
        try:
            made = await cloud.infer(call, MODEL, None, PATIENT_S, Turn(program=name))
        except DeviceBusy as error:
            return Reply(429, dict(problem.headers_of(error)), problem.anthropic_body(error))
        text = made.choices[0].message.text()
        return Reply(200, {}, msgspec.json.encode({"content": [{"type": "text", "text": text}]}))

    client = Client(post, False, random.Random(seed))
    made = arm(todo, await all_of(todo, client), client, provider.stats())
    await cloud.close()
    return made


@dataclass(frozen=True, slots=True)
class Pair:
    off: Arm
    on: Arm


def pair(todo: Sequence[Job], seed: int, *, share: float = 1.0) -> Pair:
    """share: of the requests that a provider allows beside so many tokens."""
    tokens = math.ceil(sum(job.fresh for job in todo) / LASTS_S * 60)
    requests = math.ceil(share * tokens / TOKENS_A_REQUEST)
    return Pair(
        off=virtually(without(todo, Provider(Bucket(requests), Bucket(tokens)), seed)),
        on=virtually(with_line(todo, Provider(Bucket(requests), Bucket(tokens)), seed)),
    )
