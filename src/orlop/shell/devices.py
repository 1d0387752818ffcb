"""`orlop devices`: engines and what they stand on; drain, restore, claim, release."""

from typing import Unpack

import click

from orlop.abi.cards import EngineCard
from orlop.abi.devices import ClaimOrder, ClaimPlacement, DeviceCard, DrainOrder, Value
from orlop.console.frame import Frame, framed
from orlop.console.screen import fields, show_json, size, table
from orlop.sdk.claim_words import ClaimOptions
from orlop.shell.completing import live_process
from orlop.shell.holding import hold, wanting

ENGINE_TITLES = ("ENGINE", "DRIVER", "HEALTH", "BUSY", "WAITING", "MODELS", "URL", "WHY")
DEVICE_TITLES = (
    *("DEVICE", "CLASS", "HEALTH", "WORK", "BUSY", "MEMORY", "USED", "HEAT", "POWER"),
    *("CLAIMED", "ENGINES", "NAME", "WHY"),
)


@click.group(invoke_without_command=True)
@framed
def devices(frame: Frame) -> None:
    """List engines and devices; drain and claim.

    WORK is the share of what a device can do that it is given: less while it is throttled, full or
    slow, none while it is drained or lost.  CLAIMED is what other work than calls holds of it.
    What nobody has told is left out, never guessed.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    operator = frame.operator()
    engines, found = operator.inventory().engines, operator.devices().devices
    if frame.as_json:
        show_json({"engines": engines, "devices": found})
        return
    rows = [_engine(card) for card in engines]
    click.echo(table(ENGINE_TITLES, rows, frozenset({3, 4})) if rows else "no engines")
    click.echo()
    numbers = frozenset({3, 4, 5, 6, 7, 8, 9})
    click.echo(table(DEVICE_TITLES, [_device(card) for card in found], numbers))


@devices.command()
@click.argument("name")
@framed
def show(frame: Frame, name: str) -> None:
    """Show all that is known of a device: what claims may ask for, and who holds it."""
    card = frame.operator().device(name)
    if frame.as_json:
        show_json(card)
        return
    facts = {key: _value(value) for key, value in sorted(card.facts().items())}
    click.echo(
        fields([("name", card.name), *(pair for pair in facts.items() if pair[0] != "name")])
    )
    for claim in card.claims:
        part = f"cores {','.join(map(str, claim.cores))}" if claim.cores else f"{claim.share:.2f}"
        alone = ", alone" if claim.exclusive else ""
        click.echo(f"{claim.id}: {part}{alone} by {claim.process} {claim.purpose}".rstrip())


@devices.command()
@click.argument("name")
@click.option("--reason", default="by an operator", show_default=True, help="For the journal.")
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(0),
    help="Seconds that holders of claims have to save their state; by default its owner's notice, "
    "else what they asked for.",
)
@framed
def drain(frame: Frame, name: str, reason: str, within_s: float | None) -> None:
    """Give a device no more work, until `restore`; work that can goes elsewhere."""
    _said(frame, frame.operator().drain(name, DrainOrder(reason=reason, within_s=within_s)))


@devices.command()
@click.argument("name")
@framed
def restore(frame: Frame, name: str) -> None:
    """Say that a drained device is sound again."""
    _said(frame, frame.operator().restore(name))


devices.add_command(hold)


@devices.command()
@click.argument("process", shell_complete=live_process)
@click.argument("where", default="")
@wanting
@framed
def claim(frame: Frame, process: str, where: str, **wanted: Unpack[ClaimOptions]) -> None:
    """Give a process a device, or a part of one, until it has ended.

    WHERE is a predicate, as in 'device.class == "gpu" && hbm_gb >= 40'.
    """
    order = ClaimOrder(where=where, **wanted)
    granted = frame.operator().claim(ClaimPlacement(process=process, order=order))
    if frame.as_json:
        show_json(granted)
    else:
        cores_told = f" cores {','.join(map(str, granted.cores))}" if granted.cores else ""
        click.echo(f"{granted.id} {granted.device}{cores_told}")


@devices.command()
@click.argument("claim")
@framed
def release(frame: Frame, claim: str) -> None:
    """Take a claim back."""
    frame.operator().release(claim)


def _said(frame: Frame, card: DeviceCard) -> None:
    if frame.as_json:
        show_json(card)
    else:
        click.echo(f"{card.name} is {card.health}" + (f": {card.reason}" if card.reason else ""))


def _engine(card: EngineCard) -> tuple[str, ...]:
    known = [f"KV events: {card.kv_events}"] if card.kv_events else []
    known += ["calls can be stopped and gone on with"] if card.continues else []
    return (
        card.name,
        card.driver,
        card.health,
        f"{card.running}/{card.slots}",
        str(card.waiting),
        ",".join(card.models) or "-",
        card.url or "-",
        card.reason or "; ".join(known) or "-",
    )


def _device(card: DeviceCard) -> tuple[str, ...]:
    reading = card.reading
    claimed = card.share_claimed
    cores = sum(len(node) for node in card.cpus)
    if cores:
        claimed += card.cores_claimed / cores
    return (
        card.name,
        card.kind,
        card.health,
        f"{card.share:.0%}",
        "-" if reading.utilisation is None else f"{reading.utilisation:.0%}",
        "-" if reading.memory_total_bytes is None else size(reading.memory_total_bytes),
        "-" if reading.memory_used_bytes is None else size(reading.memory_used_bytes),
        "-" if reading.temperature_c is None else f"{reading.temperature_c:.0f} °C",
        "-" if reading.power_w is None else f"{reading.power_w:.0f} W",
        f"{claimed:.0%}" if claimed else "-",
        ",".join(card.engines) or "-",
        str(card.attributes.get("model", "-")),
        card.reason or ("being erased" if card.erasing else "-"),
    )


def _value(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return " ".join(value)
        case _:
            return str(value)
