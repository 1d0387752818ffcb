"""Fields held outside: their values are in tools, and nowhere else."""

from collections.abc import Mapping

import msgspec
import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import Effect, ToolCard
from orlop.abi.errors import BadCall, KernelError, ToolFailed
from orlop.abi.ids import Seq, TenantId
from orlop.abi.limits import HELD_VALUES_MAX
from orlop.abi.replies import ToolResult
from orlop.kernel import syscall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.snapshot import taken
from orlop.tools import outside
from orlop.tools.catalog import Catalog

CANARY = "4111-1111-canary-1111"
HELD = {"type": "string", "maxLength": 100, "x-held-outside": True}


class Register:
    """Pays with a card number, or looks one up."""

    def __init__(
        self,
        name: str,
        *,
        parameters: dict[str, object] | None = None,
        results: dict[str, object] | None = None,
        effect: Effect = "pure",
        fails: bool = False,
    ) -> None:
        self.card = ToolCard(
            name=name, effect=effect, parameters=parameters or {}, results=results or {}
        )
        self.seen: list[Mapping[str, object]] = []
        self._fails = fails

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.seen.append(arguments)
        if self._fails:
            raise ToolFailed(f"no such number: {arguments['number']}")
        return {"owner": "Grace", "number": CANARY, "all": [CANARY, {"number": CANARY}]}

    async def happened(self, key: str) -> bool | None:
        return None


def pay(*, fails: bool = False) -> Register:
    properties = {"number": HELD, "amount": {"type": "integer"}}
    return Register("pay", parameters={"type": "object", "properties": properties}, fails=fails)


def look_up() -> Register:
    several = {"type": "array", "items": {"anyOf": [HELD, {"$ref": "#/$defs/card"}]}}
    properties = {"owner": {"type": "string"}, "number": HELD, "all": several}
    card = {"type": "object", "properties": {"number": HELD}}
    return Register(
        "look_up",
        results={"type": "object", "properties": properties, "$defs": {"card": card}},
    )


async def said(kernel: Kernel, process: Process, tool: str, **arguments: object) -> object:
    done = await result(syscall.enter(kernel, process, CallTool(tool=tool, arguments=arguments)))
    assert isinstance(done, ToolResult)
    return done.value


async def journal_text(kernel: Kernel) -> str:
    """All that the journal holds, decrypted."""
    await kernel.journal.flush()
    stored = await kernel.journal.read(Seq(1), limit=100_000)
    events = [(item.header, codec.decode(item)) for item in stored]
    return msgspec.json.encode(events).decode() + msgspec.json.encode(taken(kernel.tables)).decode()


def test_an_argument_is_seen_by_its_tool_alone() -> None:
    tool = pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await said(kernel, process, "pay", number=CANARY, amount=3)
        assert tool.seen == [{"number": CANARY, "amount": 3}]
        text = await journal_text(kernel)
        assert CANARY not in text
        assert "held:" in text

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_result_is_a_handle_that_another_tool_can_be_given() -> None:
    tool = pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        found = await said(kernel, process, "look_up")
        assert isinstance(found, dict)
        assert found["owner"] == "Grace"
        handle = found["number"]
        assert outside.is_handle(handle)
        assert found["all"][0] == handle
        assert outside.is_handle(found["all"][1])
        await said(kernel, process, "pay", number=handle, amount=3)
        assert tool.seen[0]["number"] == CANARY
        assert CANARY not in await journal_text(kernel)

    on(lambda: Computer(tools=[tool, look_up()]), scenario)


def test_a_handle_in_a_field_that_takes_none_stays_a_handle() -> None:
    """Else an agent could have a value sent that it may not see."""
    mail = Register("mail", parameters={"type": "object"})

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        found = await said(kernel, process, "look_up")
        assert isinstance(found, dict)
        await said(kernel, process, "mail", body=found["number"])
        assert mail.seen == [{"body": found["number"]}]
        await said(kernel, process, "pay", number=CANARY, note=found["number"])
        assert tool.seen == [{"number": CANARY, "note": found["number"]}]

    tool = pay()
    on(lambda: Computer(tools=[mail, tool, look_up()]), scenario)


def test_the_same_value_has_the_same_handle_so_a_resumed_call_is_found() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        for _ in range(2):
            await said(kernel, process, "pay", number=CANARY)
        stored = [item.header for item in await kernel.journal.of_process(process.id)]
        digests = {header.args_digest for header in stored if header.kind == "call.entered"}
        assert len(digests) == 1

    on(lambda: Computer(tools=[pay()]), scenario)


def test_after_a_crash_a_handle_says_what_to_do() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        found = await said(kernel, process, "look_up")
        assert isinstance(found, dict)
        await here.crash(kernel)
        following = await here.boot()
        again = await program(following)
        with pytest.raises(BadCall, match="call the tool that gave it again"):
            await said(following, again, "pay", number=found["number"])
        await here.close(following)

    on(lambda: Computer(tools=[pay(), look_up()]), scenario)


@pytest.mark.parametrize("number", [CANARY, CANARY * 10], ids=["the tool", "the schema"])
def test_an_error_does_not_quote_it(number: str) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(KernelError) as failed:
            await said(kernel, process, "pay", number=number)
        assert CANARY not in failed.value.message
        assert "[secret]" in failed.value.message
        assert CANARY not in await journal_text(kernel)

    on(lambda: Computer(tools=[pay(fails=True)]), scenario)


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {"^n": HELD}},
        {"if": {"properties": {"number": HELD}}},
        {"prefixItems": [HELD]},
        {"$defs": {"card": HELD}},
        {"properties": {"a": {"$ref": "#/$defs/other"}}, "$defs": {"card": HELD, "other": {}}},
    ],
)
def test_a_mark_that_would_not_be_found_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(BadCall, match="x-held-outside"):
        Catalog([Register("pay", parameters=schema)])


def test_the_vault_is_bounded_and_forgets_the_longest_unused() -> None:
    vault = outside.Vault()
    for number in range(HELD_VALUES_MAX + 10):
        vault.put(TenantId("t"), f"held:{number}", number)
        vault.get(TenantId("t"), "held:0")
    assert vault.get(TenantId("t"), "held:0") == 0
    with pytest.raises(KeyError):
        vault.get(TenantId("t"), "held:1")
    with pytest.raises(KeyError):
        vault.get(TenantId("other"), "held:0")
