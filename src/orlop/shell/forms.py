"""`orlop models forms` and `orlop models measure`: one model in several forms.

A program like any other: it measures through the running kernel, with a key of its own, in the
batch band, and tells the kernel the result.
"""

import hashlib
from pathlib import Path
from typing import Final

import click
import msgspec
from msgspec import Struct

from orlop.abi.calls import Sampling
from orlop.abi.cards import ArtefactView, CardView, Measured
from orlop.abi.errors import BadCall
from orlop.abi.hints import Hints
from orlop.abi.limits import LABELLED_MAX
from orlop.abi.messages import Message
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json, size, table
from orlop.sdk.operator import Operator
from orlop.sdk.sync import SyncKernel, connect_sync

TITLES: Final = (
    *("CARD", "FORM", "PRECISION", "SIZE", "ENGINE", "DEVICE", "SERVES", "LOSS", "CASES", "WHY"),
)


class Labelled(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a labelled set: what is asked, and what is right."""

    label: str | tuple[str, ...]
    prompt: str = ""
    messages: tuple[Message, ...] = ()

    def conversation(self) -> tuple[Message, ...]:
        return self.messages or (Message("user", self.prompt),)


@click.command()
@framed
def forms(frame: Frame) -> None:
    """List models that come in several forms, and which of them may serve.

    LOSS is the share of a labelled set by which a form is worse than the card's reference.
    """
    cards = frame.operator().cards()
    if frame.as_json:
        show_json(cards)
    elif not cards:
        click.echo("no model comes in several forms; `[models.cards.NAME]` names those that do")
    else:
        rows = [_row(card, one) for card in cards for one in card.artefacts]
        click.echo(table(TITLES, rows, frozenset({3, 7, 8})))


@click.command()
@click.argument("card")
@click.option(
    "--labels",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='JSON lines: {"prompt": …, "label": …}, or "messages" in the place of "prompt".',
)
@click.option("--tokens", type=click.IntRange(1), default=16, show_default=True, help="An answer.")
@framed
def measure(frame: Frame, card: str, labels: Path, tokens: int) -> None:
    """Measure what each form of a model gets right, and tell the kernel.

    Every case is asked of every form, at temperature 0.  An answer is right where it is the label
    (or one of the labels), but for case, spaces and a full stop at the end.
    """
    content = labels.read_bytes()
    cases = read_cases(content, labels.name)
    operator = frame.operator()
    view = operator.card(card)
    key = operator.create_key(f"measure {card}")
    try:
        with connect_sync(
            home=frame.given_home, tenant=frame.tenant, token=key.secret, program="measure"
        ) as kernel:
            scores = {
                one.artefact.name: _score(kernel, one, cases, tokens, quiet=frame.as_json)
                for one in view.artefacts
            }
    finally:
        operator.revoke_key(key.id)
    told = _tell(operator, view, scores, hashlib.sha256(content).hexdigest())
    if frame.as_json:
        show_json(told)
    else:
        rows = [_row(told, one) for one in told.artefacts]
        click.echo(table(TITLES, rows, frozenset({3, 7, 8})))


def read_cases(content: bytes, name: str) -> list[Labelled]:
    """Raises `BadCall` with the line."""
    cases = list[Labelled]()
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            case = msgspec.json.decode(line, type=Labelled)
        except msgspec.DecodeError as error:
            raise BadCall(f"{name}:{number}: {error}") from error
        if not case.prompt and not case.messages:
            raise BadCall(f"{name}:{number}: neither a prompt nor messages")
        cases.append(case)
    if not 1 <= len(cases) <= LABELLED_MAX:
        raise BadCall(f"{name}: from 1 to {LABELLED_MAX} cases, not {len(cases)}")
    return cases


def is_right(answer: str, label: str | tuple[str, ...]) -> bool:
    labels = (label,) if isinstance(label, str) else label
    return _plain(answer) in {_plain(one) for one in labels}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def _score(
    kernel: SyncKernel, view: ArtefactView, cases: list[Labelled], tokens: int, *, quiet: bool
) -> list[bool]:
    """Case by case, whether the form is right."""
    artefact, right = view.artefact, list[bool]()
    for case in cases:
        done = kernel.infer(
            case.conversation(),
            model=f"{artefact.engine}/{artefact.model}",
            output_tokens_max=tokens,
            sampling=Sampling(temperature=0.0),
            hints=Hints(latency_class="batch"),
        )
        right.append(is_right(done.text(), case.label))
    if not quiet:
        click.echo(f"{artefact.name}: {sum(right)} of {len(right)} right", err=True)
    return right


def _tell(
    operator: Operator, view: CardView, scores: dict[str, list[bool]], sha256: str
) -> CardView:
    reference = scores[view.reference]
    told = view
    for one in view.artefacts:
        right = scores[one.artefact.name]
        pairs = list(zip(reference, right, strict=True))
        told = operator.measured(
            Measured(
                card=view.name,
                artefact=one.artefact.name,
                labels_sha256=sha256,
                cases=len(right),
                right=sum(right),
                worse=sum(was and not now for was, now in pairs),
                better=sum(now and not was for was, now in pairs),
            )
        )
    return told


def _row(card: CardView, view: ArtefactView) -> tuple[str, ...]:
    artefact, measured = view.artefact, view.measured
    is_reference = artefact.name == card.reference
    return (
        card.name,
        artefact.name + (" (reference)" if is_reference else ""),
        artefact.precision or "-",
        size(artefact.bytes) if artefact.bytes else "-",
        artefact.engine,
        view.device or "-",
        "yes" if view.serves else "no",
        "-" if measured is None or is_reference else f"{measured.loss:.1%}",
        "-" if measured is None else f"{measured.right}/{measured.cases}",
        view.reason or "-",
    )
