"""What the table makes of looks, of orlop.toml, and of engines' troubles."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orlop.abi.devices import DeviceCard, DeviceName, Reading, Value
from orlop.abi.ids import EngineName, TenantId
from orlop.hardware.configured import DeviceConfig, described
from orlop.hardware.table import SHARE_STEP, Change, DeviceTable

CPU = DeviceCard(name=DeviceName("cpu0"), kind="cpu", attributes={"memory_gb": 25.3})
COOL = Reading(clock_share=1.0)
HOT = Reading(clock_share=0.4, throttled=("heat",))
ENGINE = EngineName("engine")


def gpu(index: int, uuid: str = "", reading: Reading = COOL, **attributes: Value) -> DeviceCard:
    return DeviceCard(
        name=DeviceName(f"nvidia{index}"),
        kind="gpu",
        attributes={"uuid": uuid or f"GPU-{index}", "hbm_gb": 80.0, **attributes},
        reading=reading,
    )


def table_with(*cards: DeviceCard, on: str = "nvidia0", **config: DeviceConfig) -> DeviceTable:
    table = DeviceTable(config=config)
    table.stand(ENGINE, on)
    table.see(cards)
    return table


def test_each_device_is_news_once() -> None:
    table = DeviceTable()
    assert [change.device for change in table.see([CPU, gpu(0)])] == ["cpu0", "nvidia0"]
    assert table.see([CPU, gpu(0)]) == []


def test_what_the_journal_says_already_is_no_news_after_a_boot() -> None:
    table = DeviceTable()
    table.told(DeviceName("cpu0"), "ready", 1.0, "")
    table.told(DeviceName("nvidia0"), "ready", 1.0, "")
    (gone,) = table.see([CPU])
    assert (gone.device, gone.was, gone.health) == ("nvidia0", "ready", "lost")


def test_a_device_that_was_drained_stays_so_over_a_boot() -> None:
    table = DeviceTable()
    table.told(DeviceName("nvidia0"), "drained", 0.0, "2 memory errors")
    assert table.see([gpu(0)]) == []
    assert table.card("nvidia0").health == "drained"
    (back,) = table.restore(DeviceName("nvidia0"))
    assert (back.was, back.health, back.share) == ("drained", "ready", 1.0)


def test_an_engine_on_a_lost_device_is_not_usable_until_it_is_back() -> None:
    table = table_with(CPU, gpu(0))
    assert table.usable(ENGINE).share == 1.0
    (lost,) = table.see([CPU])
    assert lost.health == "lost"
    assert table.usable(ENGINE).share == 0.0
    assert table.usable(ENGINE).reason == "device nvidia0 is lost: it is not there any more"
    (back,) = table.see([CPU, gpu(0)])
    assert back.health == "ready"
    assert table.usable(ENGINE).share == 1.0


def test_a_board_that_its_driver_names_and_can_not_reach_is_lost_with_all_that_was_known() -> None:
    table = table_with(gpu(0, model="H200"))
    bare = DeviceCard(
        name=DeviceName("nvidia0"), kind="gpu", health="lost", reason="GPU is lost (NVML 15)"
    )
    (lost,) = table.see([bare])
    assert lost.reason == "GPU is lost (NVML 15)"
    assert table.card("nvidia0").attributes["model"] == "H200"


def test_a_throttled_device_takes_less() -> None:
    table = table_with(gpu(0, reading=HOT))
    (change,) = table.see([gpu(0, reading=HOT)])
    assert (change.health, change.share) == ("degraded", 0.4)
    assert table.usable(ENGINE).share == 0.4


def test_a_small_change_of_share_is_no_news() -> None:
    table = table_with(gpu(0, reading=HOT))
    table.see([gpu(0, reading=HOT)])
    assert table.see([gpu(0, reading=replace(HOT, clock_share=0.45))]) == []
    assert table.usable(ENGINE).share == 0.45


def test_a_device_keeps_its_name_when_another_is_taken_out() -> None:
    table = DeviceTable()
    table.see([gpu(0, "A"), gpu(1, "B")])
    table.see([gpu(0, "B")])
    cards = {card.attributes["uuid"]: card for card in table.cards()}
    assert (cards["A"].name, cards["A"].health) == ("nvidia0", "lost")
    assert (cards["B"].name, cards["B"].health) == ("nvidia1", "ready")


def test_a_new_device_in_the_place_of_another_gets_a_name_of_its_own() -> None:
    table = DeviceTable()
    table.see([gpu(0, "GPU-aaaaaaaa")])
    table.see([gpu(0, "GPU-bbbbbbbb")])
    assert {card.name: card.health for card in table.cards()} == {
        "nvidia0": "lost",
        "nvidia0-bbbbbbbb": "ready",
    }


def test_a_full_device_and_a_slow_one_take_less() -> None:
    table = table_with(gpu(0))
    (full,) = table.failed(ENGINE, "CUDA out of memory")
    assert (full.health, full.share) == ("degraded", 0.5)
    for _ in range(3):
        table.see([gpu(0)])
    assert table.usable(ENGINE).share == 1.0
    slow = [change for _ in range(10) for change in table.timed(ENGINE, 0.2)]
    assert [round(change.share, 2) for change in slow] == [0.2]


def test_a_device_elsewhere_that_was_full_gets_its_work_back_though_nobody_can_look_at_it() -> None:
    for table in (
        table_with(CPU, on="cloud", cloud=DeviceConfig(kind="gpu")),
        table_with(gpu(0), gpu(1), on="pair", pair=DeviceConfig(members=("nvidia0", "nvidia1"))),
        DeviceTable(),
    ):
        if table.device_of(ENGINE) is None:
            table.stand(ENGINE, "engine", is_own=True)
        (full,) = table.failed(ENGINE, "CUDA out of memory")
        assert (full.health, table.usable(ENGINE).share) == ("degraded", 0.5)
        seen = [CPU, gpu(0), gpu(1)]
        said = [change for _ in range(4) for change in table.see(seen)]
        assert full.device in [change.device for change in said if change.was == "degraded"]
        assert table.usable(ENGINE).share == 1.0


def test_a_group_that_was_full_is_lost_with_its_member_all_the_same() -> None:
    pair = DeviceConfig(members=("nvidia0", "nvidia1"))
    table = table_with(gpu(0), gpu(1), on="pair", pair=pair)
    table.failed(ENGINE, "CUDA out of memory")
    table.see([gpu(0)])
    assert table.usable(ENGINE).reason == "device pair is lost: nvidia1: it is not there any more"


def test_what_is_cut_out_of_a_drained_board_is_drained_with_it() -> None:
    part = replace(gpu(0, "MIG-0", parent="nvidia0"), name=DeviceName("nvidia0.mig0"))
    table = table_with(gpu(0, divided=True), part, on="nvidia0.mig0")
    changes = {change.device: change for change in table.drain(DeviceName("nvidia0"), "a new fan")}
    assert changes[DeviceName("nvidia0.mig0")].reason == "nvidia0: a new fan"
    assert table.usable(ENGINE).share == 0.0
    table.restore(DeviceName("nvidia0"))
    assert table.usable(ENGINE).share == 1.0


def test_an_engine_on_a_device_that_nobody_knows_says_so() -> None:
    table = table_with(CPU, on="nvidia7")
    usable = table.usable(ENGINE)
    assert usable.share == 0.0
    assert "neither in this machine nor in orlop.toml" in usable.reason


def test_before_the_first_look_all_is_usable() -> None:
    table = DeviceTable()
    table.stand(ENGINE, "nvidia0")
    assert table.usable(ENGINE).share == 1.0


def test_a_remote_engine_stands_on_a_device_of_its_own() -> None:
    table = DeviceTable()
    table.stand(ENGINE, "engine", is_own=True)
    table.see([CPU])
    assert table.see([CPU]) == []
    device = table.device_of(ENGINE)
    assert device is not None
    assert (device.kind, device.health, device.attributes) == ("remote", "ready", {})


def test_orlop_toml_says_more_of_what_is_here_and_all_of_what_is_not() -> None:
    config = {
        "nvidia0": DeviceConfig(region="eu", labels={"rack": "b7"}, preemptible=True),
        "cloud": DeviceConfig(kind="gpu", memory_gb=80, round_trip_s={"kernel": 0.08}),
    }
    cards = {card.name: card for card in described(config, [gpu(0)])}
    here, there = cards[DeviceName("nvidia0")], cards[DeviceName("cloud")]
    assert here.attributes["hbm_gb"] == 80.0
    assert here.attributes["labels.rack"] == "b7"
    assert here.attributes["preemptible"] is True
    assert there.attributes == {"memory_gb": 80, "hbm_gb": 80, "round_trip_s.kernel": 0.08}


def test_a_configured_device_that_is_not_here_is_lost() -> None:
    (card,) = described({"nvidia3": DeviceConfig(region="eu")}, [])
    assert (card.health, card.reason) == ("lost", "it is in orlop.toml, and not in this machine")
    assert card.share == 0.0


def test_a_group_is_as_good_as_its_worst_member() -> None:
    pair = DeviceConfig(members=("nvidia0", "nvidia1"), interconnect="nvlink")
    table = table_with(gpu(0, model="H200"), gpu(1, model="H200"), on="pair", pair=pair)
    card = table.card("pair")
    assert card.attributes["hbm_gb"] == 160.0
    assert card.attributes["count"] == 2
    assert card.attributes["model"] == "H200"
    assert "uuid" not in card.attributes
    table.see([gpu(0, model="H200")])
    assert table.usable(ENGINE).reason == ("device pair is lost: nvidia1: it is not there any more")
    assert table.engines_on(DeviceName("nvidia1")) == (ENGINE,)


def test_a_device_of_one_tenant_serves_no_other() -> None:
    table = table_with(gpu(0), nvidia0=DeviceConfig(tenant="acme"))
    assert table.usable(ENGINE, TenantId("acme")).share == 1.0
    assert table.usable(ENGINE, TenantId("else")).share == 0.0


def test_a_remote_device_can_be_drained_and_given_back() -> None:
    table = table_with(CPU, on="cloud", cloud=DeviceConfig(kind="gpu"))
    (drained,) = table.drain(DeviceName("cloud"), "spot notice")
    assert (drained.health, table.usable(ENGINE).share) == ("drained", 0.0)
    table.see([CPU])
    assert table.usable(ENGINE).share == 0.0
    table.restore(DeviceName("cloud"))
    assert table.usable(ENGINE).share == 1.0


BOARDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([COOL, HOT, Reading(memory_errors=1), Reading(memory_broken="broken")]),
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda board: board[0],
)
STEPS = st.lists(
    BOARDS | st.sampled_from(["full", "slow", "fast", "drain", "restore", "reboot"]), max_size=30
)


Board = tuple[int, Reading, bool]


def seen(boards: list[Board]) -> list[DeviceCard]:
    """`False`: the driver names the board and can't reach it."""
    lost = {"health": "lost", "reason": "GPU is lost"}
    return [
        replace(gpu(index, reading=reading), **({} if is_there else lost))
        for index, reading, is_there in boards
    ]


def happens(table: DeviceTable, step: list[Board] | str) -> list[Change]:
    if not isinstance(step, str):
        return table.see(seen(step))
    if step == "full":
        return table.failed(ENGINE, "out of memory")
    if step in ("slow", "fast"):
        return table.timed(ENGINE, 0.1 if step == "slow" else 1.0)
    if "nvidia0" not in {card.name for card in table.cards()}:
        return []
    name = DeviceName("nvidia0")
    return table.drain(name, "an order") if step == "drain" else table.restore(name)


def rebooted(said: dict[str, Change]) -> DeviceTable:
    """Knows what the journal knows."""
    table = DeviceTable()
    table.stand(ENGINE, "nvidia0")
    for name, one in said.items():
        table.told(DeviceName(name), one.health, one.share, one.reason)
    return table


@given(STEPS)
def test_whatever_happens_what_is_said_is_what_is_done(steps: list[list[Board] | str]) -> None:
    """What was last said of each device is how it is; no work goes to what is lost or drained."""
    said = dict[str, Change]()
    table = rebooted(said)
    for step in steps:
        if step == "reboot":
            table = rebooted(said)
            continue
        for change in happens(table, step):
            before = said.get(change.device)
            assert change.was == (before.health if before is not None else None)
            said[change.device] = change
        cards = {card.name: card for card in table.cards()}
        assert len(cards) == len(table.cards())
        for name, card in cards.items():
            assert said[name].health == card.health
            assert abs(said[name].share - card.share) < SHARE_STEP
            assert (card.share == 0) == (card.health in ("drained", "lost"))
        here = table.device_of(ENGINE)
        assert table.usable(ENGINE).share == (here.share if here is not None else 1.0)
