"""Measuring what each form of a model gets right, as a program of the running kernel."""

import json
from pathlib import Path

import pytest
from scripted_kernel import Said, completion, scripted_kernel

from orlop.abi.errors import BadCall
from orlop.shell.commands import run
from orlop.shell.forms import is_right, read_cases


def test_an_answer_is_right_but_for_case_spaces_and_a_full_stop() -> None:
    assert is_right(" Billing.\n", "billing")
    assert is_right("two  words", ("one", "Two words"))
    assert not is_right("billing department", "billing")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"}', "labels:2.*label"),
        ('{"label": "a"}', "labels:2: neither a prompt nor messages"),
        ('{"prompt": "a", "lable": "b", "label": "c"}', "labels:2.*lable"),
        ("not JSON", "labels:2"),
    ],
)
def test_a_wrong_line_of_a_labelled_set_is_named(line: str, message: str) -> None:
    good = '{"prompt": "a", "label": "b"}'
    with pytest.raises(BadCall, match=message):
        read_cases(f"{good}\n{line}\n".encode(), "labels")


def test_an_empty_labelled_set_is_refused() -> None:
    with pytest.raises(BadCall, match="from 1 to"):
        read_cases(b"\n\n", "labels")


CARD = {
    "name": "support",
    "kind": "chat",
    "reference": "exact",
    "loss_max": 0.01,
    "cases_min": 2,
    "artefacts": [
        {"artefact": {"name": "exact", "engine": "big", "model": "m"}, "serves": True},
        {"artefact": {"name": "cheap", "engine": "small", "model": "m"}},
    ],
}


def test_forms_are_measured_case_by_case_against_the_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.jsonl"
    cases = [{"prompt": f"case {number}", "label": "yes"} for number in range(3)]
    labels.write_text("\n".join(json.dumps(case) for case in cases))
    said = iter(["yes", "Yes.", "no", "yes", "no", "yes"])
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/cards/support", Said(CARD))
        made = {"id": "key_1", "name": "measure", "secret": "orlk_abc"}
        kernel.says("POST /orlop/v1/keys", Said(made, 201))
        kernel.says("POST /orlop/v1/calls", *[Said(completion(text)) for text in said])
        kernel.says("POST /orlop/v1/cards", Said(CARD))
        kernel.says("DELETE /orlop/v1/keys/key_1", Said({}))
        asked = ["models", "measure", "support", "--labels", str(labels)]
        assert run([*asked, "--home", str(tmp_path)]) == 0
    calls = [json.loads(one.body) for one in kernel.heard if one.path.endswith("/calls")]
    told = [json.loads(one.body) for one in kernel.heard if one.path.endswith("/cards")]
    assert [call["model"] for call in calls] == ["big/m"] * 3 + ["small/m"] * 3
    assert {call["hints"]["latency_class"] for call in calls} == {"batch"}
    assert {call["sampling"]["temperature"] for call in calls} == {0.0}
    counts = [(one["artefact"], one["cases"], one["right"]) for one in told]
    assert counts == [("exact", 3, 2), ("cheap", 3, 2)]
    assert (told[1]["worse"], told[1]["better"]) == (1, 1)
    assert "exact (reference)" in capsys.readouterr().out
