"""Engines as `orlop.toml` names them: each driver is built, each mistake is named with its line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pytest

from orlop.abi.errors import Misconfigured
from orlop.drivers.engines import EngineConfig, ServerDriver, Workshop, build, check
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock
from orlop.machine.settings import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    engines: dict[str, EngineConfig] = field(default_factory=dict)


def read(folder: Path, text: str) -> EngineConfig:
    path = folder / "orlop.toml"
    path.write_text(text)
    (config,) = load(path, Settings).engines.values()
    return config


@pytest.mark.parametrize("driver", get_args(ServerDriver))
def test_every_driver_of_a_server_is_built_from_its_name_and_url(
    driver: str, tmp_path: Path
) -> None:
    config = read(tmp_path, f'[engines.e]\ndriver = "{driver}"\nurl = "http://host:1"\nslots = 3')
    shop = Workshop(
        clock=SystemClock(),
        chance=SeededChance(1),
        models_dir=tmp_path,
        folder=tmp_path,
        lifeline=None,
    )
    engine = build("e", config, shop)
    card = engine.card()
    assert (card.driver, card.slots, card.health) == (driver, 3, "starting")
    assert card.url.startswith("http://host:1")


@pytest.mark.parametrize("driver", get_args(ServerDriver))
def test_a_server_without_an_address_is_refused(driver: str, tmp_path: Path) -> None:
    config = read(tmp_path, f'[engines.e]\ndriver = "{driver}"\nurl = "host:1"')
    with pytest.raises(Misconfigured, match=r"engines\.e: url should be http://"):
        check("e", config, tmp_path)


MISTAKES: Mapping[str, str] = {
    'driver = "vlm"': "'vlm' is none of its values; did you mean 'vllm'?",
    'driver = "lama-server"': "did you mean 'llama-server'?",
    "watch = 3": "engines.e.watch: no such setting; did you mean 'watch_s'?",
    "watch_s = -1": "engines.e.watch_s",
    "cloud.cache = '2h'": "'2h' is none of its values; there are: ",
    "cloud.dialect = 'antropic'": "did you mean 'anthropic'?",
    "cloud.tokens_per_minute = -5": "tokens_per_minute",
    "onnx.batch = 0": "engines.e.onnx.batch",
    "onnx.standard_s = 'soon'": "engines.e.onnx.standard_s",
}


@pytest.mark.parametrize(("line", "said"), MISTAKES.items())
def test_a_mistake_is_named_with_its_line_and_the_nearest_right_word(
    line: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=re.escape(said)) as raised:
        read(tmp_path, f'[engines.e]\nurl = "http://host:1"\n{line}\n')
    assert "orlop.toml:3: " in raised.value.message


def test_a_micro_model_that_is_none_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "model.gguf"
    other.write_bytes(b"")
    for path, said in ((other, "is no ONNX file"), (tmp_path / "none.onnx", "no model")):
        config = read(tmp_path, f'[engines.e]\ndriver = "onnx"\nmodel = "{path}"')
        with pytest.raises(Misconfigured, match=said):
            check("e", config, tmp_path)
