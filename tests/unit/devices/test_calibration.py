"""Step times from files: fits, tables, and what is wrong with a file."""

import json
from pathlib import Path

import pytest

from orlop.abi.errors import Misconfigured
from orlop.devices.calibration import Row, speed_of
from orlop.devices.fit import calibration, decode_terms, fit, prefill_terms
from orlop.devices.speed import Linear

TRUE = Linear(
    decode_a_s=0.012,
    decode_b_s=0.0004,
    decode_c_s=5e-8,
    prefill_a_s=0.015,
    prefill_b_s=8e-5,
    prefill_c_s=3e-9,
)


def rows() -> tuple[list[Row], list[Row]]:
    sizes = (64, 512, 4_096)
    decode: list[Row] = [(b, c, 1e3 * TRUE.decode_s(b, b * c)) for b in (1, 4, 16) for c in sizes]
    prefill: list[Row] = [(n, p, 1e3 * TRUE.prefill_s(n, p)) for n in sizes for p in (0, *sizes)]
    return decode, prefill


def test_a_fit_finds_the_law_behind_its_rows() -> None:
    decode, prefill = rows()
    speed = calibration(decode, prefill).speed()
    assert isinstance(speed, Linear)
    assert speed.decode_s(8, 20_000) == pytest.approx(TRUE.decode_s(8, 20_000), rel=1e-3)
    assert speed.prefill_s(2_000, 9_000) == pytest.approx(TRUE.prefill_s(2_000, 9_000), rel=1e-3)


def test_no_coefficient_is_negative_whatever_the_noise_says() -> None:
    falling = [(1.0, 64.0, 10.0), (2.0, 64.0, 9.0), (4.0, 64.0, 8.0), (4.0, 128.0, 7.0)]
    values, error = fit(falling, decode_terms)
    assert min(values) >= 0
    assert 0 < error < 0.3


def test_rows_of_one_length_do_not_break_the_fit() -> None:
    values, error = fit([(64.0, 0.0, 5.0), (64.0, 0.0, 5.0), (64.0, 0.0, 5.0)], prefill_terms)
    assert error == pytest.approx(0, abs=1e-6)
    assert sum(v * t for v, t in zip(values, prefill_terms(64, 0), strict=True)) > 4.9


def test_a_table_is_interpolated_where_the_fit_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "moe.json"
    entry = {
        "decode_ms": [[1, 0, 10], [1, 1000, 20], [9, 0, 30], [9, 1000, 60]],
        "prefill_ms": [[100, 0, 10], [100, 1000, 20], [300, 0, 30], [300, 1000, 60]],
        "fit_decode_ms": {"a": 1, "b_per_seq": 1, "c_per_kv_token": 1, "mape": 0.35},
        "fit_prefill_ms": {"a": 1, "b_per_tok": 1, "c_per_tok_ctx": 1, "mape": 0.02},
    }
    path.write_text(json.dumps({"gpu|moe|tp1": entry}))
    speed = speed_of(path, "")
    assert speed.decode_s(1, 500) == pytest.approx(0.015)
    assert speed.decode_s(5, 5 * 500) == pytest.approx(0.030)
    assert speed.prefill_s(200, 500) == pytest.approx(0.030)
    assert speed.prefill_s(400, 0) == pytest.approx(0.040), "beyond the edge its slope goes on"
    assert speed.decode_s(1, 0) > 0
    assert speed.prefill_s(1, 0) == pytest.approx(0.010), "never faster than what was measured"
    assert speed.prefill_s(0, 500) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", "is no calibration file"),
        ('{"a|b|tp1": {"decode_ms": "x"}}', "is no calibration file"),
        ('{"a|b|tp1": {"decode_ms": [], "prefill_ms": []}}', "full grid"),
        ('{"a|b|tp1": {"decode_ms": [[1,2,3],[4,5,6]], "prefill_ms": []}}', "full grid"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=said) as wrong:
        speed_of(path, "a|b|tp1")
    assert str(path) in wrong.value.message


def test_a_name_that_is_not_there_gets_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    decode, prefill = rows()
    entry = {"decode_ms": decode, "prefill_ms": prefill}
    path.write_text(json.dumps({"h200|qwen|tp1": entry, "l40s|qwen|tp1": entry}))
    with pytest.raises(Misconfigured, match=r"did you mean 'h200\|qwen\|tp1'"):
        speed_of(path, "h200|qwen|tp2")
    with pytest.raises(Misconfigured, match="can't be read"):
        speed_of(tmp_path / "absent.json", "x")
