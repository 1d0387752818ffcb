"""Keys that are written into an agent's files are found, and not shown."""

from pathlib import Path

import pytest

from orlop.abi.errors import Misconfigured
from orlop.abi.secret_words import SHAPES
from orlop.operate import agent_keys

KEYS = {
    "an Anthropic key": "sk-" + "ant-api03-" + "aB3" * 12,
    "an OpenAI key": "sk-" + "proj-" + "aB3" * 12,
    "a Google key": "AI" + "za" + "a1B" * 11 + "cd",
    "a Hugging Face token": "hf" + "_" + "aB3" * 12,
    "a Groq key": "gsk" + "_" + "aB3" * 16,
    "an xAI key": "xai" + "-" + "aB3" * 16,
    "a Replicate token": "r8" + "_" + "aB3" * 12,
    "a GitHub token": "ghp" + "_" + "aB3" * 12,
    "a GitLab token": "glpat" + "-" + "aB3" * 8,
    "a Slack token": "xoxb" + "-" + "12345-" * 5,
    "an AWS key": "AK" + "IA" + "ABCD1234" * 2,
    "a Stripe key": "sk" + "_live_" + "aB3" * 8,
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a key of this kernel's": "orlo" + "_" + "0a" * 32,
}


def test_there_is_an_example_of_every_shape() -> None:
    assert KEYS.keys() == SHAPES.keys()


@pytest.mark.parametrize("what", KEYS)
def test_a_key_is_named_with_its_place_and_not_shown(tmp_path: Path, what: str) -> None:
    (tmp_path / "agent.py").write_text(f"import os\n\nclient = Client({KEYS[what]!r})\n")
    (found,) = agent_keys.examine(tmp_path)
    assert found.state == "fail"
    assert found.found == f"agent.py:3: {what}"
    assert KEYS[what] not in found.found + found.fix


def test_a_value_that_is_called_a_key_is_found_whatever_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text('shop_api_key: "0123456789abcdef0123"\n')
    (found,) = agent_keys.examine(tmp_path)
    assert found.found == "settings.yaml:1: a value of shop_api_key"


@pytest.mark.parametrize(
    "line",
    [
        'api_key = os.environ["OPENAI_API_KEY"]',
        'api_key = "your-api-key-goes-here"',
        'token_count = "12"',
        "base_url = 'https://example.com/a/very/long/path/to/something'",
        "sk-learn is a library",
    ],
)
def test_what_only_looks_like_it_is_let_be(tmp_path: Path, line: str) -> None:
    (tmp_path / "agent.py").write_text(line + "\n")
    (found,) = agent_keys.examine(tmp_path)
    assert found.state == "ok", found


def test_other_peoples_folders_binaries_and_links_are_not_read(tmp_path: Path) -> None:
    key = KEYS["an OpenAI key"]
    for folder in ("node_modules", ".venv", ".git"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(key)
    (tmp_path / "binary").write_bytes(b"\0" + key.encode())
    (tmp_path / "link").symlink_to(tmp_path / ".git" / "a.py")
    (tmp_path / "large").write_bytes(b"a" * (agent_keys.FILE_BYTES_MAX + 1))
    warned, found = agent_keys.examine(tmp_path)
    assert warned.found == "1 not read: large"
    assert found.state == "ok"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="nowhere"):
        list(agent_keys.examine(tmp_path / "nowhere"))
