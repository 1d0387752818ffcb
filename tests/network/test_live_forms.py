"""One model in two forms on a live kernel: measured by the shell, served by the cheaper one."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_kernel import LiveKernel, live_kernel

from orlop.abi.calls import Sampling
from orlop.abi.errors import DeviceFailed
from orlop.abi.hints import Hints
from orlop.sdk.sync import SyncKernel, connect_sync

CONFIG = """
[engines.exact]
driver = "fake"
device = "there"
fake = { models = ["support-fp16"], embed_models = [] }

[engines.cheap]
driver = "fake"
device = "cpu0"
fake = { models = ["support-int4"], embed_models = [] }

[devices.there]
kind = "gpu"
memory_gb = 80

[models.cards.support]
reference = "fp16"
loss_max = 0.1
cases_min = 5
artefacts.fp16 = { engine = "exact", model = "support-fp16", bytes = 16_000 }
artefacts.int4 = { engine = "cheap", model = "support-int4", bytes = 4_000 }
"""
CASES = [f"case {number}" for number in range(6)]
ON_CPU = Hints(device='device.class == "cpu"')


@pytest.fixture(scope="module")
def kernel() -> Iterator[LiveKernel]:
    with live_kernel(CONFIG) as running:
        yield running


@pytest.fixture
def client(kernel: LiveKernel) -> Iterator[SyncKernel]:
    with connect_sync(kernel.url, token=kernel.key) as connected:
        yield connected


def answers(client: SyncKernel, model: str) -> list[str]:
    cold = Sampling(temperature=0.0)
    return [
        client.infer(case, model=model, output_tokens_max=16, sampling=cold).text()
        for case in CASES
    ]


def measured(kernel: LiveKernel, labels: list[list[str]], folder: Path) -> dict[str, object]:
    """What the shell says of the cheaper form, after measuring with these labels."""
    lines = [
        json.dumps({"prompt": case, "label": label})
        for case, label in zip(CASES, labels, strict=True)
    ]
    file = folder / "labels.jsonl"
    file.write_text("\n".join(lines))
    said = json.loads(kernel.orlop("models", "measure", "support", "--labels", str(file), "--json"))
    (cheap,) = [one for one in said["artefacts"] if one["artefact"]["name"] == "int4"]
    assert isinstance(cheap, dict)
    return cheap


def test_a_cheaper_form_serves_once_it_is_measured_and_good_enough(
    kernel: LiveKernel, client: SyncKernel, tmp_path: Path
) -> None:
    exact, cheap = answers(client, "exact/support-fp16"), answers(client, "cheap/support-int4")
    assert exact != cheap
    assert client.infer("hello", model="support").facts.form == "fp16"

    wrong = measured(kernel, [[one] for one in exact], tmp_path)
    assert wrong.get("reason") == "its loss is 1, more than 0.1"
    assert client.infer("hello", model="support").facts.form == "fp16"

    right = measured(kernel, [list(pair) for pair in zip(exact, cheap, strict=True)], tmp_path)
    assert right["serves"] is True
    facts = client.infer("hello", model="support", hints=ON_CPU).facts
    assert (facts.form, facts.engine, facts.device) == ("int4", "cheap", "cpu0")
    assert "int4" in kernel.orlop("models", "forms")
    with pytest.raises(DeviceFailed, match="no form of support may serve"):
        client.infer("hello", model="support", hints=Hints(quality_min=1.01))


def test_a_dialects_reply_names_the_form_too(kernel: LiveKernel) -> None:
    body = {"model": "support", "messages": [{"role": "user", "content": "hello"}]}
    asked = urllib.request.Request(
        f"{kernel.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {kernel.key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["orlop"]["form"] in ("fp16", "int4")


def test_clients_see_the_card_among_the_models(kernel: LiveKernel) -> None:
    asked = urllib.request.Request(
        f"{kernel.url}/v1/models", headers={"authorization": f"Bearer {kernel.key}"}
    )
    with urllib.request.urlopen(asked) as answer:
        listed = [model["id"] for model in json.load(answer)["data"]]
    assert "support" in listed
