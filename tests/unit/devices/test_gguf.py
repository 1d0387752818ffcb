"""The shape of a model, read from files that are made here byte by byte."""

import struct
from pathlib import Path

import pytest

from orlop.devices.gguf import kv_bytes_per_token
from orlop.devices.llamacpp_residence import expected_bytes


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def field(name: str, value: int | str | list[int] | list[str]) -> bytes:
    head = text(name)
    if isinstance(value, int):
        return head + struct.pack("<II", 4, value)
    if isinstance(value, str):
        return head + struct.pack("<I", 8) + text(value)
    kind = 8 if isinstance(value[0], str) else 4
    items = b"".join(text(one) if isinstance(one, str) else struct.pack("<I", one) for one in value)
    return head + struct.pack("<IIQ", 9, kind, len(value)) + items


def gguf(folder: Path, **shape: int | list[int]) -> Path:
    fields = [field("general.architecture", "llama"), field("general.tags", ["a", "b"])]
    fields += [field(f"llama.{name.replace('__', '.')}", value) for name, value in shape.items()]
    fields.append(field("tokenizer.ggml.tokens", ["x"] * 100))
    path = folder / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields)) + b"".join(fields))
    return path


SHAPE: dict[str, int | list[int]] = {
    "block_count": 30,
    "embedding_length": 576,
    "attention__head_count": 9,
    "attention__head_count_kv": 3,
}


def test_a_token_takes_keys_and_values_of_each_head_in_each_layer(tmp_path: Path) -> None:
    assert kv_bytes_per_token(gguf(tmp_path, **SHAPE)) == 30 * 3 * (64 + 64) * 2


def test_lengths_that_are_stated_go_before_those_that_follow(tmp_path: Path) -> None:
    stated = SHAPE | {"attention__key_length": 256, "attention__value_length": 128}
    assert kv_bytes_per_token(gguf(tmp_path, **stated)) == 30 * 3 * (256 + 128) * 2


def test_layers_may_have_different_heads(tmp_path: Path) -> None:
    mixed = SHAPE | {"attention__head_count_kv": [4, 0, 2]}
    assert kv_bytes_per_token(gguf(tmp_path, **mixed)) == 6 * (64 + 64) * 2


@pytest.mark.parametrize("cut", [0, 3, 10, 24, 40, 90, 200])
def test_a_file_that_ends_early_tells_nothing(tmp_path: Path, cut: int) -> None:
    path = gguf(tmp_path, **SHAPE)
    path.write_bytes(path.read_bytes()[:cut])
    assert kv_bytes_per_token(path) is None


def test_a_file_that_claims_absurd_lengths_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60) + struct.pack("<Q", 2**60))
    assert kv_bytes_per_token(path) is None


def test_what_a_host_will_take_counts_its_context(tmp_path: Path) -> None:
    path = gguf(tmp_path, **SHAPE)
    small, large = expected_bytes(path, 1_000), expected_bytes(path, 5_000)
    assert large - small == 4_000 * 30 * 3 * 128 * 2
    assert small > path.stat().st_size
    assert expected_bytes(tmp_path / "nothing", 1_000) == 0
