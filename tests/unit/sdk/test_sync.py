"""The synchronous client against written-down answers."""

from pathlib import Path

import msgspec
import pytest
from scripted_kernel import FACTS, Said, completion, problem, scripted_kernel, write_home

import orlop
from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import BudgetSpent, DeviceBusy, Interrupted, NoKernel, NotReady
from orlop.abi.ids import ProcessId
from orlop.abi.messages import Message

CALLS = "POST /orlop/v1/calls"


def test_a_prompt_comes_back_as_a_completion(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, Said(completion("blue")))
        answer = kernel.infer("Why?", model="small", system="Be brief.", temperature=0.0)
    assert answer.text() == "blue"
    heard = scripted.heard[0]
    assert heard.fields["Authorization"] == "Bearer secret"
    assert msgspec.json.decode(heard.body, type=Infer) == Infer(
        model="small",
        messages=(Message("system", "Be brief."), Message("user", "Why?")),
        sampling=Sampling(temperature=0.0),
    )


def test_an_error_comes_back_as_its_class(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, problem("E1302", "5 of 5 calls are used", 429))
        with pytest.raises(BudgetSpent, match="5 of 5 calls"):
            kernel.infer("Why?", model="small")


def test_a_busy_device_says_when_to_come_back(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, problem("E2002", "overloaded", 429, retry_after_s=7.0))
        with pytest.raises(DeviceBusy) as caught:
            kernel.infer("Why?", model="small")
    assert caught.value.retry_after_s == 7.0
    assert len(scripted.heard) == 1


def test_a_lost_answer_is_asked_for_again_as_a_repeat(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, Said(cut=True), Said(completion("blue")))
        assert kernel.infer("Why?", model="small").text() == "blue"
    first, second = scripted.heard
    assert "orlop-retry" not in first.fields
    assert second.fields["orlop-retry"] == "1"
    assert first.body == second.body


def test_a_kernel_that_starts_is_asked_again_but_not_as_a_repeat(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, problem("E3001", "starting", 503, 0.01), Said(completion("blue")))
        assert kernel.infer("Why?", model="small").text() == "blue"
    assert all("orlop-retry" not in heard.fields for heard in scripted.heard)


def test_a_call_that_a_stopping_kernel_gave_up_is_repeated(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, problem("E3002", "stopped", 503, 0.01), Said(completion("blue")))
        assert kernel.infer("Why?", model="small").text() == "blue"
    assert scripted.heard[1].fields["orlop-retry"] == "1"


def test_without_patience_a_starting_kernel_is_an_error(tmp_path: Path) -> None:
    with (
        scripted_kernel(tmp_path) as scripted,
        orlop.connect_sync(home=tmp_path, patience_s=0.0) as kernel,
    ):
        scripted.says(CALLS, problem("E3001", "starting", 503))
        with pytest.raises(NotReady, match="starting"):
            kernel.infer("Why?", model="small")


def test_an_address_where_nobody_listens_is_no_kernel(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted:
        pass
    write_home(scripted)
    with (
        orlop.connect_sync(home=tmp_path, patience_s=0.0) as kernel,
        pytest.raises(NoKernel, match=r"kernel\.sock"),
    ):
        kernel.infer("Why?", model="small")


def test_a_sleep_waits_for_its_parked_call(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, Said({"call": "cal_9"}, 202))
        done = {"type": "ok", "facts": FACTS}
        scripted.says("GET /orlop/v1/calls/cal_9", Said({"call": "cal_9"}, 202), Said(done))
        kernel.sleep(3600.0)
    assert [heard.method for heard in scripted.heard] == ["POST", "GET", "GET"]


def test_a_spawned_child_can_be_waited_for(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        spawned = {"type": "spawned", "process": "prc_7", "pid": 7, "facts": FACTS}
        exited = {"type": "exited", "process": "prc_7", "status": 3, "facts": FACTS}
        scripted.says(CALLS, Said(spawned), Said(exited))
        child = kernel.spawn(["sh", "-c", "exit 3"], name="three")
        assert child.pid == 7
        assert child.wait() == 3
    spawn, wait = (heard.json() for heard in scripted.heard)
    assert spawn["command"] == ["sh", "-c", "exit 3"]
    assert spawn["cwd"] == str(Path.cwd())
    assert wait == {"type": "wait", "process": ProcessId("prc_7")}


def test_a_tool_gives_its_value(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        result = {"type": "tool_result", "value": {"paid": True}, "facts": FACTS}
        scripted.says(CALLS, Said(result))
        assert kernel.call_tool("order", number="A-1") == {"paid": True}
    assert scripted.heard[0].json()["arguments"] == {"number": "A-1"}


def test_a_stream_gives_pieces_and_then_the_whole(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(CALLS, Said(lines=(_delta("bl"), _delta("ue"), completion("blue"))))
        stream = kernel.stream("Why?", model="small")
        assert [delta.text for delta in stream] == ["bl", "ue"]
        assert stream.completion.text() == "blue"
    assert scripted.heard[0].json()["stream"] is True


def test_a_broken_stream_goes_on_where_it_broke(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        whole = (_delta("bl"), _delta("u"), _delta("e"), completion("blue"))
        scripted.says(CALLS, Said(lines=whole[:2], cut=True), Said(lines=whole))
        stream = kernel.stream("Why?", model="small")
        assert [delta.text for delta in stream] == ["bl", "u", "e"]
    assert scripted.heard[1].fields["orlop-retry"] == "1"


def test_a_stream_that_ends_without_its_completion_is_not_taken_for_whole(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        scripted.says(
            CALLS, Said(lines=(_delta("bl"),)), Said(lines=(_delta("bl"), completion("blue")))
        )
        stream = kernel.stream("Why?", model="small")
        with pytest.raises(Interrupted, match="not been read"):
            assert stream.completion
        assert [delta.text for delta in stream] == ["bl"]
        assert stream.completion.text() == "blue"


def test_an_error_in_a_stream_ends_it(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as scripted, orlop.connect_sync(home=tmp_path) as kernel:
        error = {"type": "error", "code": "E1302", "message": "no tokens left"}
        scripted.says(CALLS, Said(lines=(_delta("bl"), error)))
        with pytest.raises(BudgetSpent, match="no tokens left"):
            list(kernel.stream("Why?", model="small"))


def _delta(text: str) -> dict[str, object]:
    return {"type": "delta", "text": text}
