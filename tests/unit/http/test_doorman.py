"""Who is let in, in virtual time: expired, over-broad, revoked and outlived tokens and keys."""

from collections.abc import Callable, Coroutine

import pytest
from small_kernel import Computer, ask, on, program, result

from orlop.abi.capabilities import RevokeOrder, RightRefused, RotateOrder
from orlop.abi.errors import (
    BadCall,
    Denied,
    Fenced,
    KernelError,
    NotFound,
    TokenRefused,
    Unauthenticated,
)
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.rights import Rights
from orlop.access.capability import Capabilities, TokenConfig
from orlop.access.principal import Tokens
from orlop.http.auth import Doorman
from orlop.kernel import operator, syscall
from orlop.machine.clock import NS_PER_S
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.store.signing_keys import SigningKeys
from orlop.subsystems import lifecycle, rights, tokens
from orlop.wire import biscuit
from orlop.wire import tokens as wire
from orlop.wire.claims import Block, whole_seconds

OPERATOR = "orlo_" + "0" * 64
DAY_S = 86_400.0


class Request:
    """The headers of one request."""

    def __init__(self, token: str, **named: str) -> None:
        self._fields = {"authorization": f"Bearer {token}", **named}

    def header(self, name: str) -> str:
        return self._fields.get(name, "")


class Gate:
    """A doorman with keys that nobody else has."""

    def __init__(self, here: Computer, kernel: Kernel, lifetime_s: float = 0.0) -> None:
        self.kernel = kernel
        config = TokenConfig(lifetime_s=lifetime_s)
        self.capabilities = Capabilities(SigningKeys.volatile(here.chance), config)
        self.doorman = Doorman(kernel, Tokens(self.capabilities, OPERATOR))

    def token(self, process: Process) -> str:
        return self.capabilities.make(process.row, self.kernel.clock.wall_ns())

    def narrowed(self, token: str, allow: Rights | None, expires_s: float | None = None) -> str:
        now_ns = self.kernel.clock.wall_ns()
        until = None if expires_s is None else whole_seconds(now_ns + round(expires_s * NS_PER_S))  # type: ignore[arg-type]
        return wire.narrow(token, Block(allow=allow, expires_ns=until))

    async def call(self, token: str) -> None:
        """A model call with that token.  Raises what it is refused with."""
        caller = self.doorman.caller(Request(token))
        process = await self.doorman.process(caller, Request(token))
        narrowing = caller.narrowing
        await result(syscall.enter(self.kernel, process, ask("hello"), narrowing=narrowing))


Story = Callable[[Gate, Process], Coroutine[object, object, None]]


def at_the_gate(story: Story, lifetime_s: float = 0.0) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await story(Gate(here, kernel, lifetime_s), await program(kernel))

    on(Computer, scenario)


async def journaled(kernel: Kernel, process: Process) -> list[str]:
    await kernel.journal.flush()
    events = [codec.decode(item) for item in await kernel.journal.of_process(process.id)]
    return [event.reason for event in events if isinstance(event, RightRefused)]


def test_an_expired_token_is_refused_and_the_journal_says_so() -> None:
    async def story(gate: Gate, process: Process) -> None:
        brief = gate.narrowed(gate.token(process), None, expires_s=60)
        await gate.call(brief)
        await gate.kernel.clock.sleep(61)
        with pytest.raises(TokenRefused, match="expired token"):
            await gate.call(brief)
        await gate.call(gate.token(process))
        assert "expired token" in (await journaled(gate.kernel, process))[0]

    at_the_gate(story)


def test_a_lifetime_holds_for_the_first_token_too() -> None:
    async def story(gate: Gate, process: Process) -> None:
        token = gate.token(process)
        await gate.kernel.clock.sleep(3_602)
        with pytest.raises(TokenRefused, match="expired"):
            await gate.call(token)
        await gate.call(gate.token(process))

    at_the_gate(story, lifetime_s=3_600)


def test_an_over_broad_token_is_refused_by_its_block_and_journaled() -> None:
    async def story(gate: Gate, process: Process) -> None:
        narrow = gate.narrowed(gate.token(process), ("model",))
        greedy = biscuit.narrow(narrow, Block(allow=("*",)))
        with pytest.raises(TokenRefused, match="over-broad token: its block 3 claims"):
            await gate.call(greedy)
        assert "over-broad" in (await journaled(gate.kernel, process))[0]

    at_the_gate(story)


def test_a_narrowed_token_gets_no_more_than_its_process_holds_now() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, allow=("model", "tool"))
        gate = Gate(here, kernel)
        narrow = gate.narrowed(gate.token(process), ("model",))
        await gate.call(narrow)
        rights.take(kernel, process, "model", "an operator")
        with pytest.raises(Denied, match="no right to model"):
            await gate.call(narrow)

    on(Computer, scenario)


def test_a_forged_or_cut_off_token_is_nobodys() -> None:
    async def story(gate: Gate, process: Process) -> None:
        token = gate.token(process)
        other = Gate(Computer(), gate.kernel)
        for bad in (token[:-9], other.token(process).replace("orlp_b", "orlp_e"), "orlp_", "x"):
            with pytest.raises(Unauthenticated) as refused:
                await gate.call(bad)
            assert refused.value.code == "E1101"
        assert await journaled(gate.kernel, process) == []

    at_the_gate(story)


def test_what_is_revoked_stays_revoked_in_the_next_kernel() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        gate = Gate(here, kernel)
        one, other = (gate.narrowed(gate.token(process), ("model",)) for _ in range(2))
        await tokens.revoke(
            kernel, gate.capabilities, RevokeOrder(what=one, reason="lost"), DEFAULT_TENANT
        )
        kernel.snapshot()
        await kernel.journal.flush()
        await here.crash(kernel)
        following = await here.boot()
        gate.kernel, gate.doorman = following, Doorman(following, Tokens(gate.capabilities, ""))
        with pytest.raises(TokenRefused, match="lost"):
            gate.doorman.caller(Request(one))
        gate.doorman.caller(Request(other))
        await here.close(following)

    on(Computer, scenario)


def test_all_tokens_of_an_incarnation_are_revoked_by_its_process() -> None:
    async def story(gate: Gate, process: Process) -> None:
        token, kernel = gate.token(process), gate.kernel
        narrow = gate.narrowed(token, ("model",))
        await tokens.revoke(
            kernel, gate.capabilities, RevokeOrder(what=str(process.row.pid)), DEFAULT_TENANT
        )
        for revoked in (token, narrow, gate.token(process)):
            with pytest.raises(TokenRefused, match="revoked"):
                await gate.call(revoked)
        lifecycle.end(kernel, process, 0, "")
        await lifecycle.start(kernel, process, "resume")
        await gate.call(gate.token(process))
        with pytest.raises(KernelError) as refused:
            await gate.call(token)
        assert isinstance(refused.value, TokenRefused | Fenced)

    at_the_gate(story)


def test_earlier_signing_keys_are_accepted_for_as_long_as_it_was_said() -> None:
    async def story(gate: Gate, process: Process) -> None:
        kernel, before = gate.kernel, gate.token(process)
        made = await tokens.rotate(kernel, gate.capabilities, RotateOrder(accept_s=DAY_S))
        assert (made.key, made.until_ns) == (2, None)
        for token in (before, gate.token(process)):
            await gate.call(token)
        await kernel.clock.sleep(DAY_S - 1)
        await gate.call(before)
        await kernel.clock.sleep(2)
        with pytest.raises(Unauthenticated):
            await gate.call(before)
        await gate.call(gate.token(process))
        with pytest.raises(BadCall, match="accept_s"):
            await tokens.rotate(kernel, gate.capabilities, RotateOrder(accept_s=-1))

    at_the_gate(story)


def test_a_later_rotation_makes_no_earlier_key_live_longer() -> None:
    async def story(gate: Gate, process: Process) -> None:
        kernel, before = gate.kernel, gate.token(process)
        await tokens.rotate(kernel, gate.capabilities, RotateOrder(accept_s=10))
        await tokens.rotate(kernel, gate.capabilities, RotateOrder(accept_s=DAY_S))
        await kernel.clock.sleep(11)
        with pytest.raises(Unauthenticated):
            await gate.call(before)

    at_the_gate(story)


def test_a_key_has_an_end_and_its_clients_its_rights() -> None:
    async def story(gate: Gate, process: Process) -> None:
        kernel = gate.kernel
        narrow = await operator.create_key(
            kernel, DEFAULT_TENANT, "shop", rights=("tool",), expires_s=60
        )
        with pytest.raises(Denied, match="no right to model"):
            await gate.call(narrow.secret)
        chat = await operator.create_key(kernel, DEFAULT_TENANT, "chat", expires_s=60)
        await gate.call(chat.secret)
        await kernel.clock.sleep(61)
        for made in (narrow, chat):
            with pytest.raises(TokenRefused, match="has expired"):
                await gate.call(made.secret)
        with pytest.raises(BadCall):
            await operator.create_key(kernel, DEFAULT_TENANT, "never", expires_s=0)

    at_the_gate(story)


def test_revoking_what_nobody_has_is_said() -> None:
    async def story(gate: Gate, process: Process) -> None:
        for what, error in (("nobody", NotFound), ("orlp_b", Unauthenticated)):
            with pytest.raises(error):
                await tokens.revoke(
                    gate.kernel, gate.capabilities, RevokeOrder(what=what), DEFAULT_TENANT
                )

    at_the_gate(story)


def test_the_operators_token_is_compared_whole() -> None:
    async def story(gate: Gate, process: Process) -> None:
        gate.doorman.caller(Request(OPERATOR)).require_operator()
        for wrong in (OPERATOR[:-1], OPERATOR + "0", "orlo_"):
            with pytest.raises(Unauthenticated):
                gate.doorman.caller(Request(wrong))
        with pytest.raises(Denied):
            gate.doorman.caller(Request(gate.token(process))).require_operator()

    at_the_gate(story)
