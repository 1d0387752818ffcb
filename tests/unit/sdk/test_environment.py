"""What processes inherit."""

import pytest

from orlop.abi.errors import BadCall
from orlop.sdk.environment import passed_on, with_named

MINE = {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "src", "OPENAI_API_KEY": "sk", "COLOR": "red"}


def test_secrets_are_not_passed_on() -> None:
    assert passed_on(MINE) == {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "src"}


def test_named_variables_are_added() -> None:
    chosen = with_named(["COLOR", "MODE=fast", "PATH=/opt"], environ=MINE)
    assert chosen["COLOR"] == "red"
    assert chosen["MODE"] == "fast"
    assert chosen["PATH"] == "/opt"


def test_a_variable_that_is_not_set_is_refused() -> None:
    with pytest.raises(BadCall, match="--env SHAPE"):
        with_named(["SHAPE"], environ=MINE)


@pytest.mark.parametrize(
    "item",
    [
        "AWS_SESSION_TOKEN=x",
        "GITHUB_TOKEN=x",
        "MY_SERVICE_API_KEY=x",
        "DB_PASSWORD=x",
        "COLOUR=sk-ant-" + "a1" * 16,
        "COLOUR=ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_what_looks_like_a_key_is_passed_on_only_where_it_is_insisted_on(item: str) -> None:
    name = item.partition("=")[0]
    with pytest.raises(BadCall, match=f"--keep-env {name}"):
        with_named([item], environ=MINE)
    assert name in with_named([item], [name], environ=MINE)


def test_a_key_is_kept_by_its_name_alone() -> None:
    mine = {**MINE, "HF_TOKEN": "hf"}
    assert with_named([], ["HF_TOKEN"], mine)["HF_TOKEN"] == "hf"
    with pytest.raises(BadCall, match="no such variable"):
        with_named([], ["HF_TOKEN"], MINE)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ORLOP_TOKEN"])
def test_what_every_process_has_from_the_kernel_is_nobody_elses(name: str) -> None:
    for named, kept in (([f"{name}=x"], []), ([], [name])):
        with pytest.raises(BadCall, match="kernel's own"):
            with_named(named, kept, {**MINE, name: "x"})


@pytest.mark.parametrize("name", ["MAX_TOKENS", "KEYBOARD", "TOKENIZERS_PARALLELISM", "SECRETARY"])
def test_names_that_only_sound_like_it_are_passed_on(name: str) -> None:
    assert with_named([f"{name}=1"], environ=MINE)[name] == "1"
