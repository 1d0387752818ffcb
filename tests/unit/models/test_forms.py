"""Which of a model's artefacts may serve, and which one does on a device."""

import pytest
from msgspec.structs import replace

from orlop.abi.cards import Measured, ModelCard
from orlop.abi.devices import DeviceCard, DeviceName, Reading
from orlop.abi.errors import Misconfigured
from orlop.abi.ids import EngineName, ModelName
from orlop.models.forms import ArtefactConfig, CardConfig, Form, check, forms, picks

GB = 1_000_000_000
CARD = CardConfig(
    reference="fp16",
    loss_max=0.02,
    artefacts={
        "fp16": ArtefactConfig(engine="big", model="qwen-fp16", bytes=16 * GB),
        "int8": ArtefactConfig(engine="small", model="qwen-int8", bytes=8 * GB),
        "int4": ArtefactConfig(engine="small", model="qwen-int4", bytes=4 * GB),
    },
)
CARDS = [
    ModelCard(name=ModelName("qwen-fp16"), engine=EngineName("big")),
    ModelCard(name=ModelName("qwen-int8"), engine=EngineName("small"), artefact="88"),
    ModelCard(name=ModelName("qwen-int4"), engine=EngineName("small"), artefact="44"),
]


def device(name: str, gb: int) -> DeviceCard:
    return DeviceCard(
        name=DeviceName(name),
        kind="gpu",
        attributes={"hbm_gb": gb},
        reading=Reading(memory_total_bytes=gb * GB),
    )


DEVICES = {EngineName("big"): device("nvidia0", 80), EngineName("small"): device("nvidia1", 24)}


def reference(right: int = 180, labels: str = "ab") -> Measured:
    return Measured(
        card=ModelName("qwen"), artefact="fp16", labels_sha256=labels, cases=200, right=right
    )


def measured(form: str, worse: int, digest: str, cases: int = 200) -> Measured:
    return Measured(
        card=ModelName("qwen"),
        artefact=form,
        digest=digest,
        labels_sha256="ab",
        cases=cases,
        right=180 * cases // 200 - worse,
        worse=worse,
    )


def found(*measurements: Measured, card: CardConfig = CARD) -> dict[str, Form]:
    by_form = {one.artefact: one for one in (reference(), *measurements)}
    return {one.artefact.name: one for one in forms("qwen", card, CARDS, DEVICES, by_form)}


def picked(*measurements: Measured, quality_min: float | None = None) -> dict[str, str]:
    """The form that serves, by engine."""
    chosen = picks(list(found(*measurements).values()), quality_min)
    return {card.engine: card.form for card in chosen}


def test_no_cheaper_form_serves_before_its_loss_is_measured() -> None:
    assert picked() == {"big": "fp16"}
    assert found()["int4"].reason == "its loss is not measured yet"


def test_a_form_within_the_limit_serves_on_its_device_and_the_cheapest_is_taken() -> None:
    assert picked(measured("int8", 2, "88")) == {"big": "fp16", "small": "int8"}
    both = picked(measured("int8", 2, "88"), measured("int4", 4, "44"))
    assert both == {"big": "fp16", "small": "int4"}


def test_a_form_beyond_the_limit_does_not_serve() -> None:
    lossy = measured("int4", 5, "44")
    assert picked(lossy) == {"big": "fp16"}
    assert found(lossy)["int4"].reason == "its loss is 0.025, more than 0.02"


def test_a_form_that_errs_elsewhere_but_not_more_often_has_no_loss() -> None:
    other = Measured(
        card=ModelName("qwen"),
        artefact="int4",
        digest="44",
        labels_sha256="ab",
        cases=200,
        right=180,
        worse=9,
        better=9,
    )
    assert picked(other)["small"] == "int4"


def test_a_measurement_of_other_weights_or_of_too_few_cases_does_not_count() -> None:
    assert found(measured("int4", 0, "55"))["int4"].reason == (
        "its loss was measured with other weights"
    )
    few = found(measured("int4", 0, "44", cases=50))["int4"]
    assert few.reason == "its loss was measured on 50 cases, and 100 are needed"


def test_a_call_may_ask_for_more_quality_than_the_card() -> None:
    int4 = measured("int4", 4, "44")
    assert picked(int4, quality_min=0.85) == {"big": "fp16", "small": "int4"}
    assert picked(int4, quality_min=0.89) == {"big": "fp16"}
    assert picked(int4, quality_min=0.95) == {}


def test_a_loss_against_a_reference_that_is_wrong_itself_says_nothing() -> None:
    int4 = measured("int4", 0, "44")
    assert found(reference(right=3), int4)["int4"].reason == (
        "fp16 got 3 of 200 right: a loss against that says nothing"
    )


def test_a_form_and_its_reference_are_measured_on_the_same_set() -> None:
    int4 = measured("int4", 0, "44")
    assert found(reference(labels="cd"), int4)["int4"].reason == (
        "fp16, as it is now, is not measured on the same labelled set"
    )


def test_a_reference_whose_weights_have_changed_is_measured_again_first() -> None:
    before = replace(reference(), digest="77")
    reason = found(before, measured("int4", 0, "44"))["int4"].reason
    assert reason == "fp16, as it is now, is not measured on the same labelled set"


def test_what_does_not_fit_its_device_or_its_claim_does_not_serve() -> None:
    large = ArtefactConfig(engine="small", model="qwen-int8", bytes=30 * GB)
    picky = ArtefactConfig(engine="small", model="qwen-int4", needs="hbm_gb >= 40")
    card = CardConfig(reference="large", artefacts={"large": large, "picky": picky})
    reasons = {name: form.reason for name, form in found(card=card).items()}
    assert reasons == {
        "large": "it has 30,000,000,000 bytes, and nvidia1 24,000,000,000",
        "picky": "nvidia1 does not meet 'hbm_gb >= 40'",
    }


def test_a_form_over_several_devices_needs_a_group_of_so_many() -> None:
    spread = ArtefactConfig(engine="big", model="qwen-fp16", tensor_parallel=2)
    card = CardConfig(reference="tp2", artefacts={"tp2": spread})
    assert found(card=card)["tp2"].reason == "it needs a group of 2 devices, not of 1"


def test_weights_that_are_not_the_cards_do_not_serve() -> None:
    swapped = ArtefactConfig(engine="small", model="qwen-int8", digest="99")
    silent = ArtefactConfig(engine="big", model="qwen-fp16", digest="99")
    card = CardConfig(reference="int8", artefacts={"int8": swapped, "fp16": silent})
    reasons = {name: form.reason for name, form in found(card=card).items()}
    assert reasons == {
        "int8": "its weights are not those of the card (SHA-256 88…)",
        "fp16": "big does not tell the SHA-256 of its weights",
    }


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (CardConfig(reference="fp8", artefacts=CARD.artefacts), "no artefact 'fp8'"),
        (
            CardConfig(reference="a", artefacts={"a": ArtefactConfig(engine="huge")}),
            "no engine 'huge'; there is: big, small",
        ),
    ],
)
def test_a_card_that_makes_no_sense_is_refused_at_the_start(card: CardConfig, message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        check({"qwen": card}, ["big", "small"])
