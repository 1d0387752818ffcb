"""Exchanges with servers outside, in virtual time: nothing is sent twice unseen."""

import asyncio
import contextlib
from collections import Counter

import pytest
from simulation_loop import simulate
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Call, CallTool
from orlop.abi.egress import Answered, Fetch, Fetched, read_rule
from orlop.abi.errors import BadCall, Denied, DeviceFailed, EffectUnknown, KernelError
from orlop.abi.ids import DEFAULT_TENANT
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle

ORDERS = 6
EXCHANGE_S = 1.0
CRASHES_MAX = 12


class Shop:
    """A server outside.  It acts in the middle of an exchange, and remembers every one."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.keys: dict[str, set[str]] = {}

    async def fetch(self, call: Fetch, key: str, limit_s: float, onward: object = None) -> Answered:
        await asyncio.sleep(EXCHANGE_S / 2)
        name = f"{call.method} {call.url.rpartition('/')[2]}"
        self.sent[name] += 1
        self.keys.setdefault(name, set()).add(key)
        await asyncio.sleep(EXCHANGE_S / 2)
        return Answered(200, (("x", "y"),), f"{name} {self.sent[name]}".encode())


def fetch(method: str, path: str) -> Fetch:
    return Fetch(method=method, url=f"https://shop.example/{path}", body=b"x")


def equipped(kernel: Kernel, shop: Shop, rule: str) -> Kernel:
    kernel.web, kernel.egress = shop, (read_rule(rule),)
    return kernel


async def buys(kernel: Kernel, process: Process, told: dict[str, list[bytes | str]]) -> None:
    """A program that looks and buys, in one order, and notes what it was told."""
    for number in range(ORDERS):
        for method in ("GET", "POST"):
            try:
                done = await result(syscall.enter(kernel, process, fetch(method, f"o{number}")))
                assert isinstance(done, Fetched)
                said: bytes | str = done.body
            except EffectUnknown as error:
                said = error.code
            told.setdefault(f"{method} o{number}", []).append(said)


async def begun_again(kernel: Kernel) -> Process:
    """The program in its next incarnation: one that was being resumed is resumed by the boot, one
    that had outlived the kernel is ended first."""
    process = kernel.find("buyer", DEFAULT_TENANT)
    await asyncio.sleep(30)
    if process.row.caught_up:
        await lifecycle.signal(kernel, process, "kill", "for the test")
        await lifecycle.ended(kernel, process)
        await lifecycle.start(kernel, process, "resume")
    return process


async def crashed_often(here: Computer, kernel: Kernel, shop: Shop, rule: str, seed: int) -> None:
    chance, told = SeededChance(seed), dict[str, list[bytes | str]]()
    process = await program(equipped(kernel, shop, rule), name="buyer")
    for _ in range(CRASHES_MAX):
        # What a program is told in its last moment, it may not have heard.
        heard: dict[str, list[bytes | str]] = {}
        running = asyncio.create_task(buys(kernel, process, heard))
        rest_s = chance.uniform() * ORDERS * 2 * EXCHANGE_S
        await asyncio.wait([running], timeout=rest_s)
        ended = running.done()
        if not ended:
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError, KernelError):
            await running
        for name, answers in heard.items():
            told.setdefault(name, []).extend(answers)
        if ended:
            break
        await here.crash(kernel)
        kernel = equipped(await here.boot(), shop, rule)
        process = await begun_again(kernel)
    for name, answers in told.items():
        assert len(set(answers)) == 1, f"seed {seed}: {name} was told {answers}"
    await here.close(kernel)


@pytest.mark.parametrize("seed", range(60))
def test_a_purchase_is_made_once_or_reported_unknown_wherever_the_kernel_is_lost(seed: int) -> None:
    shop = Shop()
    lossy(seed, shop, "shop.example")
    twice = [name for name, times in shop.sent.items() if name.startswith("POST") and times > 1]
    assert not twice, f"seed {seed}: {twice}"


@pytest.mark.parametrize("seed", range(20))
def test_where_a_rule_lets_it_be_sent_again_it_has_the_same_key(seed: int) -> None:
    shop = Shop()
    lossy(seed, shop, "shop.example=idempotent")
    assert all(len(keys) == 1 for name, keys in shop.keys.items() if name.startswith("POST"))


def lossy(seed: int, shop: Shop, rule: str) -> None:
    async def whole() -> None:
        here = Computer()
        await crashed_often(here, await here.boot(), shop, rule, seed)

    simulate(seed, whole())


@pytest.mark.parametrize(
    "wrong",
    [
        Fetch(method="BREW", url="https://shop.example/"),
        Fetch(method="GET", url="ftp://shop.example/"),
        Fetch(method="GET", url="https://user:word@shop.example/"),
        Fetch(method="GET", url="https://shop.example:99999/"),
        Fetch(method="GET", url="https://shop.example/ x"),
        Fetch(method="GET", url="https://shop.example/", headers=(("a\nb", "c"),)),
        Fetch(method="GET", url="https://shop.example/", headers=(("a", "b\r\nc"),)),
        Fetch(method="GET", url="https://shop.example/", headers=(("a", "b" * 99_999),)),
    ],
)
def test_what_no_server_would_take_is_refused_at_the_door(wrong: Fetch) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(equipped(kernel, Shop(), "*"))
        with pytest.raises(BadCall):
            syscall.enter(kernel, process, wrong)

    on(Computer, scenario)


def test_a_host_that_no_rule_names_is_refused_and_told_twenty_times_a_minute() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(equipped(kernel, Shop(), "other.example"))
        for _ in range(50):
            with pytest.raises(Denied, match=r"shop\.example"):
                await result(syscall.enter(kernel, process, fetch("GET", "a")))
        assert kernel.tables.egress.of(process.id).refused == 20
        await asyncio.sleep(60)
        with pytest.raises(Denied):
            await result(syscall.enter(kernel, process, fetch("GET", "a")))
        assert kernel.tables.egress.of(process.id).refused == 51

    on(Computer, scenario)


def test_what_only_says_who_asks_is_outside_the_digest() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        shop = Shop()
        process = await program(equipped(kernel, shop, "*"), name="asker")
        one = fetch("GET", "a")
        calls: list[Call] = [
            one,
            Fetch(method="GET", url=one.url, body=b"x", carried=(("authorization", "2"),)),
        ]
        first = await result(syscall.enter(kernel, process, calls[0]))
        await lifecycle.signal(kernel, process, "kill", "for the test")
        await lifecycle.ended(kernel, process)
        await lifecycle.start(kernel, process, "resume")
        second = await result(syscall.enter(kernel, process, calls[1]))
        assert isinstance(first, Fetched) and isinstance(second, Fetched)
        assert first.body == second.body
        assert second.facts.replayed
        assert shop.sent.total() == 1

    on(Computer, scenario)


def test_a_fetch_that_fails_before_anything_was_sent_tells_why() -> None:
    class Gone(Shop):
        async def fetch(
            self, call: Fetch, key: str, limit_s: float, onward: object = None
        ) -> Answered:
            raise DeviceFailed("no route")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(equipped(kernel, Gone(), "*"))
        with pytest.raises(DeviceFailed, match="no route"):
            await result(syscall.enter(kernel, process, fetch("GET", "a")))

    on(Computer, scenario)


def test_a_program_without_a_way_out_is_told_so() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(Denied):
            await result(syscall.enter(kernel, process, fetch("GET", "a")))
        with pytest.raises(KernelError):
            await result(syscall.enter(kernel, process, CallTool(tool="none")))

    on(Computer, scenario)
