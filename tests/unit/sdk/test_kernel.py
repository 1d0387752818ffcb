"""The asynchronous client against written-down answers."""

import asyncio
from pathlib import Path

import pytest
from scripted_kernel import FACTS, Said, completion, problem, scripted_kernel

import orlop
from orlop.abi.errors import BadCall, DeviceFailed, NoKernel
from orlop.abi.messages import Message

CALLS = "POST /orlop/v1/calls"


def test_messages_come_back_as_a_completion(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with orlop.connect(home=tmp_path) as kernel:
            answer = await kernel.infer([Message("user", "Why?")], model="small")
            return answer.text()

    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, Said(completion("blue")))
        assert asyncio.run(scenario()) == "blue"


def test_many_calls_run_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with orlop.connect(home=tmp_path) as kernel, asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(kernel.infer("Why?", model="small"))

    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, Said(completion("blue")))
        asyncio.run(scenario())
    assert len(scripted.heard) == 20


def test_a_lost_answer_is_asked_for_again_as_a_repeat(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with orlop.connect(home=tmp_path) as kernel:
            return (await kernel.infer("Why?", model="small")).text()

    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, Said(cut=True), Said(completion("blue")))
        assert asyncio.run(scenario()) == "blue"
    assert [heard.fields.get("orlop-retry") for heard in scripted.heard] == [None, "1"]


def test_an_argument_that_is_no_plain_data_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with orlop.connect(home=tmp_path) as kernel:
            await kernel.call_tool("keep", what=object())

    refused = pytest.raises(BadCall, match="call_tool: what is sent must be plain data")
    with scripted_kernel(tmp_path) as scripted, refused:
        asyncio.run(scenario())
    assert not scripted.heard


def test_an_error_comes_back_as_its_class(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with orlop.connect(home=tmp_path) as kernel:
            await kernel.embed(["a", "b"], model="minilm")

    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, problem("E2001", "the engine is gone", 502))
        with pytest.raises(DeviceFailed, match="the engine is gone"):
            asyncio.run(scenario())


def test_nobody_at_the_address_is_no_kernel(tmp_path: Path) -> None:
    async def scenario() -> None:
        url = "http://127.0.0.1:9"
        async with orlop.connect(url, token="t", patience_s=0.0) as kernel:
            await kernel.sleep(1.0)

    with pytest.raises(NoKernel, match=r"127\.0\.0\.1:9"):
        asyncio.run(scenario())


def test_a_broken_stream_goes_on_where_it_broke(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[str], str]:
        async with orlop.connect(home=tmp_path) as kernel:
            stream = kernel.stream("Why?", model="small")
            texts = [delta.text async for delta in stream]
            return texts, stream.completion.text()

    whole = (*({"type": "delta", "text": text} for text in "blue"), completion("blue"))
    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, Said(lines=whole[:2], cut=True), Said(lines=whole))
        assert asyncio.run(scenario()) == (["b", "l", "u", "e"], "blue")
    assert scripted.heard[1].fields["orlop-retry"] == "1"


def test_a_child_is_spawned_signalled_and_waited_for(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with orlop.connect(home=tmp_path) as kernel:
            child = await kernel.spawn(["sleep", "9"])
            await child.signal("kill")
            return await child.wait()

    with scripted_kernel(tmp_path) as scripted:
        spawned = {"type": "spawned", "process": "prc_7", "pid": 7, "facts": FACTS}
        exited = {"type": "exited", "process": "prc_7", "status": -9, "facts": FACTS}
        ok = {"type": "ok", "facts": FACTS}
        scripted.says(CALLS, Said(spawned), Said(ok), Said(exited))
        assert asyncio.run(scenario()) == -9
    assert [heard.json()["type"] for heard in scripted.heard] == ["spawn", "signal", "wait"]


def test_a_key_client_names_its_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with orlop.connect(home=tmp_path, program="case-7", process="writer") as kernel:
            await kernel.outcome("succeeded", "sent")

    with scripted_kernel(tmp_path) as scripted:
        scripted.says(CALLS, Said({"type": "ok", "facts": FACTS}))
        asyncio.run(scenario())
    fields = scripted.heard[0].fields
    assert (fields["Orlop-Program"], fields["Orlop-Process"]) == ("case-7", "writer")
