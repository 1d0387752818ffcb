"""What claims ask, and how a device that does not meet them is told of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.devices import DeviceCard, DeviceClass, DeviceName, Value
from orlop.abi.errors import BadCall, NoSuchDevice
from orlop.hardware.claim import meeting
from orlop.hardware.predicate import is_met
from orlop.hardware.predicate_text import read

L40S: dict[str, Value] = {
    "class": "gpu",
    "name": "nvidia0",
    "hbm_gb": 48.3,
    "region": "eu",
    "driver": "570.86.15",
    "features": ("sm_89", "fp8"),
    "preemptible": False,
    "labels.rack": "b7",
}


@pytest.mark.parametrize(
    "claim",
    [
        "",
        'device.class == "gpu" && hbm_gb >= 40',
        'class == "gpu" && (region == "us" || region == "eu")',
        'region in ["eu", "uk"]',
        '"fp8" in features',
        "!preemptible",
        "preemptible == false",
        'driver >= "570.9"',
        'driver < "570.100"',
        "labels.rack == 'b7'",
        "has(hbm_gb) && !has(numa_node)",
        "hbm_gb >= 4e1",
        "numa_node == 0 || hbm_gb > 1",
        "48.3 == hbm_gb",
    ],
)
def test_a_claim_is_met(claim: str) -> None:
    assert is_met(read(claim), L40S)


@pytest.mark.parametrize(
    "claim",
    [
        "hbm_gb >= 80",
        'class == "cpu"',
        "numa_node == 0",
        "!(numa_node == 0)",
        "numa_node != 0",
        'hbm_gb == "48.3"',
        "region > 3",
        "region",
        '"fp4" in features',
        '"eu" in region',
        "preemptible || hbm_gb > 80",
        "has(numa_node)",
    ],
)
def test_a_claim_is_not_met(claim: str) -> None:
    assert not is_met(read(claim), L40S)


@pytest.mark.parametrize(
    ("claim", "place", "reason"),
    [
        ("hbm_gb >=", 10, "a name or a value"),
        ("hbm_gb >= 40 region", 14, "`&&` or `||`"),
        ("(hbm_gb >= 40", 14, "`)`"),
        ("hbm_gb => 40", 8, "'='"),
        ("40", 1, "alone is no condition"),
        ("region in [1]", 12, "a list holds texts"),
        ('region == "eu', 11, "has no meaning"),
        ("has(3)", 1, "asks for a name"),
        ("&& hbm_gb > 1", 1, "a name or a value"),
    ],
)
def test_what_can_not_be_read_is_shown_with_its_place(claim: str, place: int, reason: str) -> None:
    with pytest.raises(BadCall) as raised:
        read(claim)
    assert f"character {place}" in raised.value.message
    assert reason in raised.value.message


def test_a_claim_has_a_length_and_a_depth() -> None:
    with pytest.raises(BadCall, match="PREDICATE_CHARS_MAX"):
        read("a == 1 && " * 1_000 + "a == 1")
    for nested in ("(" * 100 + "a == 1" + ")" * 100, "!" * 100 + "a"):
        with pytest.raises(BadCall, match="PREDICATE_DEPTH_MAX"):
            read(nested)


@given(st.text(max_size=80) | st.text("ab.\"'0123=<>!&|()[], in", max_size=60))
def test_every_text_is_either_read_or_refused(text: str) -> None:
    try:
        predicate = read(text)
    except BadCall:
        return
    assert is_met(predicate, L40S) in (True, False)


def device(name: str, **attributes: Value) -> DeviceCard:
    kind: DeviceClass = "cpu" if name.startswith("cpu") else "gpu"
    return DeviceCard(name=DeviceName(name), kind=kind, attributes=attributes)


def test_a_claim_that_nothing_meets_names_the_nearest_device_and_what_it_lacks() -> None:
    cards = [
        device("cpu0", memory_gb=25.3),
        device("nvidia0", hbm_gb=48.3, region="eu"),
        device("nvidia1", hbm_gb=24.0, region="eu"),
    ]
    with pytest.raises(NoSuchDevice) as raised:
        meeting(['device.class == "gpu" && hbm_gb >= 80'], cards)
    assert raised.value.message == (
        """no device meets the claim 'device.class == "gpu" && hbm_gb >= 80'; nearest is """
        "nvidia0: `hbm_gb >= 80` fails (hbm_gb is 48.3); then "
        "nvidia1: `hbm_gb >= 80` fails (hbm_gb is 24); then "
        """cpu0: `device.class == "gpu"` fails (class is "cpu"), """
        "`hbm_gb >= 80` fails (hbm_gb is not known)"
    )


def test_what_is_asked_beside_a_claim_is_told_as_it_is_read() -> None:
    with pytest.raises(NoSuchDevice) as raised:
        meeting(["cores >= 1", "!preemptible || notice_s >= 5"], [device("nvidia0")])
    told = "'cores >= 1 && (!preemptible || notice_s >= 5)'"
    assert raised.value.message.startswith(f"no device meets the claim {told}")


def test_a_misspelt_name_is_named() -> None:
    with pytest.raises(NoSuchDevice, match="hmb_gb: no attribute of any device"):
        meeting(["hmb_gb >= 40"], [device("nvidia0", hbm_gb=48.3)])


def test_several_claims_can_not_change_each_other() -> None:
    """A claim that closes a parenthesis and opens another is still only one of them."""
    with pytest.raises(BadCall):
        meeting(["a == 1) || (b == 1", "class == 'gpu'"], [device("cpu0", b=1)])
    with pytest.raises(NoSuchDevice):
        meeting(["a == 1 || b == 1", "class == 'gpu'"], [device("cpu0", b=1)])
