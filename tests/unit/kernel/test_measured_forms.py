"""One model in several forms, through the door."""

import pytest
from small_kernel import Computer, ask, on, program, result

from orlop.abi.cards import Measured
from orlop.abi.errors import BadCall, DeviceFailed, NotFound
from orlop.abi.hints import Hints
from orlop.abi.ids import EngineName, ModelName, Seq
from orlop.abi.replies import Completion
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.kernel import recovery, syscall
from orlop.models.forms import ArtefactConfig, CardConfig
from orlop.state.core import Kernel
from orlop.subsystems import forms

CARD = CardConfig(
    reference="exact",
    loss_max=0.01,
    artefacts={
        "exact": ArtefactConfig(engine="engine", model="fake", bytes=16),
        "cheap": ArtefactConfig(engine="cheap", model="fake", bytes=4),
    },
)


async def with_card(computer: Computer, kernel: Kernel) -> None:
    cheap = FakeEngine(
        EngineName("cheap"), FakeConfig(), clock=computer.clock, chance=computer.chance
    )
    kernel.registry.add(cheap)
    await cheap.start()
    kernel.registry.learn(cheap.name, await cheap.models())
    kernel.cards = {"support": CARD}


def measurement(worse: int, **more: object) -> Measured:
    return Measured(
        **{  # type: ignore[arg-type]
            "card": ModelName("support"),
            "artefact": "cheap",
            "labels_sha256": "ab",
            "cases": 1000,
            "right": 900,
            "worse": worse,
            **more,
        }
    )


async def served_by(kernel: Kernel, **hints: object) -> tuple[str, str]:
    process = await program(kernel)
    call = ask("hello", hints=Hints(**hints))  # type: ignore[arg-type]
    named = type(call)(model="support", messages=call.messages, hints=call.hints)
    done = await result(syscall.enter(kernel, process, named))
    assert isinstance(done, Completion)
    return done.facts.engine, done.facts.form


def test_only_the_reference_serves_until_a_cheaper_form_is_measured_and_good_enough() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await with_card(computer, kernel)
        assert {await served_by(kernel) for _ in range(4)} == {("engine", "exact")}
        await forms.measure(kernel, measurement(0, artefact="exact", right=950))
        await forms.measure(kernel, measurement(20))
        assert {await served_by(kernel) for _ in range(4)} == {("engine", "exact")}
        await forms.measure(kernel, measurement(5))
        assert await served_by(kernel, device='name == "cheap"') == ("cheap", "cheap")

    def computer() -> Computer:
        return Computer()

    async def placed(here: Computer, kernel: Kernel) -> None:
        kernel.devices.stand(EngineName("cheap"), "cheap", is_own=True)
        kernel.devices.stand(EngineName("engine"), "engine", is_own=True)
        await scenario(here, kernel)

    on(computer, placed)


def test_clients_are_shown_the_card_by_its_name_while_some_form_may_serve() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await with_card(computer, kernel)
        (shown,) = forms.listed(kernel)
        assert (shown.name, shown.engine, shown.form) == ("support", "engine", "exact")
        kernel.registry.learn(EngineName("engine"), [])
        assert forms.listed(kernel) == []

    on(Computer, scenario)


def test_what_was_measured_survives_a_boot() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await with_card(computer, kernel)
        await forms.measure(kernel, measurement(5))
        tables, _ = await recovery.read_tables(kernel.journal)
        assert tables.models.measured == kernel.tables.models.measured
        assert [row.worse for row in tables.models.measured.values()] == [5]
        kernel.snapshot()
        await kernel.journal.flush()
        again, seq = await recovery.read_tables(kernel.journal)
        assert seq > Seq(0)
        assert again.models.measured == tables.models.measured

    on(Computer, scenario)


def test_a_form_that_no_call_may_use_is_explained() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await with_card(computer, kernel)
        with pytest.raises(DeviceFailed) as raised:
            await served_by(kernel, quality_min=0.99)
        assert "exact on engine: its quality is not known to be 0.99" in raised.value.message
        assert "cheap on cheap: its loss is not measured yet" in raised.value.message

    on(Computer, scenario)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (measurement(0, card="other"), NotFound, "there is: support"),
        (measurement(0, artefact="fp8"), NotFound, "no artefact 'fp8'"),
        (measurement(200), BadCall, "don't add up"),
        (measurement(0, cases=0, right=0), BadCall, "cases: from 1"),
        (measurement(0, better=901), BadCall, "don't add up"),
        (measurement(0, digest="99"), BadCall, r"has the weights \(not told\) now"),
    ],
)
def test_a_measurement_that_can_not_be_is_refused(
    said: Measured, error: type[Exception], message: str
) -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await with_card(computer, kernel)
        with pytest.raises(error, match=message):
            await forms.measure(kernel, said)
        assert not kernel.tables.models.measured

    on(Computer, scenario)
