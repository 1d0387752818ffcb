"""`orlop calibrate`."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Final

import click
import msgspec

from orlop.abi.errors import DeviceFailed, Misconfigured
from orlop.abi.ids import ModelName
from orlop.console.frame import Frame, homed
from orlop.console.progress import bars
from orlop.console.screen import fields, show_json
from orlop.devices import shelf
from orlop.devices.calibration import Calibration, read
from orlop.drivers.engines import EngineConfig, Workshop, build
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock
from orlop.operate.calibrate import ROUNDS, WINDOW_MIN, Calibrator, Report
from orlop.settings import models_dir, read_settings

WINDOW: Final = 4_096
"""Tokens of context, where the engine does not tell and nobody says."""


@click.command()
@click.argument("engine")
@click.option("--model", default="", help="Which of its models.  Default: its first.")
@click.option(
    "--window", type=click.IntRange(WINDOW_MIN), help="The longest context to measure, tokens."
)
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=ROUNDS, show_default=True, help="A point."
)
@click.option("--name", default="", help="The entry's name in the file.  Default: engine|model.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibration.json"),
    show_default=True,
    help="Where to write; other entries of that file stay.",
)
@homed
def calibrate(
    frame: Frame,
    engine: str,
    model: str,
    window: int | None,
    rounds: int,
    name: str,
    output: Path,
) -> None:
    """Measure how fast an engine is, for `orlop plan` and the scheduler.

    ENGINE is a table of orlop.toml, a model from `orlop pull`, or the URL of an OpenAI-compatible
    server.  It should have nothing else to do; a kernel need not run.
    """
    entries = dict(read(output)) if output.exists() else {}
    config = _config(frame, engine)
    with bars(quiet=frame.as_json) as report:
        found, used = asyncio.run(_measure(frame, engine, config, (model, window, rounds), report))
    entries[name or f"{engine}|{used}"] = found
    try:
        output.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n")
    except OSError as error:
        raise Misconfigured(f"--output: {output} can't be written: {error}") from error
    if frame.as_json:
        show_json(found)
        return
    click.echo(_summary(found))
    click.echo(f"written: {name or f'{engine}|{used}'} in {output}")


def _config(frame: Frame, engine: str) -> EngineConfig:
    """How to reach it.  Raises `Misconfigured`."""
    if engine.startswith(("http://", "https://")):
        return EngineConfig(driver="openai", url=engine)
    settings = read_settings(None, frame.home, ())
    if engine in settings.engines:
        return settings.engines[engine]
    if shelf.find(models_dir(settings), engine) is not None:
        return EngineConfig(driver="llamacpp", model=engine)
    named = ", ".join(settings.engines) or "none"
    raise Misconfigured(
        f"no engine {engine!r}: orlop.toml has {named}; give a URL, or a model from `orlop pull`"
    )


async def _measure(
    frame: Frame,
    name: str,
    config: EngineConfig,
    how: tuple[str, int | None, int],
    report: Report,
) -> tuple[Calibration, ModelName]:
    """how: the model (empty: any), the window and the rounds."""
    wanted, window, rounds = how
    settings = read_settings(None, frame.home, ())
    clock, chance = SystemClock(), SystemChance()
    # While this end is open an embedded engine's host lives: not longer than we do.
    lifeline, end = os.pipe()
    with tempfile.TemporaryDirectory(prefix="orlop-calibrate-") as folder:
        shop = Workshop(
            clock=clock,
            chance=chance,
            models_dir=models_dir(settings),
            folder=Path(folder),
            lifeline=lifeline,
        )
        engine = build(name.partition("://")[2].replace("/", "-") or name, config, shop)
        try:
            await engine.start()
            cards = [card for card in await engine.models() if card.kind == "chat"]
            chosen = next((card for card in cards if not wanted or card.name == wanted), None)
            if chosen is None:
                which = f" {wanted!r}" if wanted else ""
                there = ", ".join(card.name for card in cards) or "none"
                raise DeviceFailed(f"{name} has no chat model{which}; it has: {there}")
            tokens = window or chosen.context_tokens or WINDOW
            calibrator = Calibrator(
                engine,
                chosen.name,
                clock=clock,
                chance=chance,
                window_tokens=tokens,
                rounds=rounds,
            )
            return await calibrator.measure(report), chosen.name
        finally:
            await engine.close()
            os.close(lifeline)
            os.close(end)


def _summary(found: Calibration) -> str:
    decode, prefill = found.fit_decode_ms, found.fit_prefill_ms
    assert decode is not None
    assert prefill is not None
    return fields(
        [
            ("a token, alone", f"{decode.a + decode.b_per_seq:.2f} ms"),
            ("each call more", f"{decode.b_per_seq:.3f} ms"),
            ("1,000 tokens of context", f"{1e3 * decode.c_per_kv_token:.3f} ms a step"),
            ("decode fit's error", f"{decode.mape:.1%}"),
            ("1,000 tokens of prompt", f"{prefill.a + 1e3 * prefill.b_per_tok:.1f} ms"),
            ("prefill fit's error", f"{prefill.mape:.1%}"),
        ]
    )
