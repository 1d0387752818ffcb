"""Usage to money, exactly and before: integers of nano-dollars, rounded up once a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from orlop.abi.cards import ModelCard
from orlop.abi.hints import Usage
from orlop.abi.ids import NanoDollars

PRICED_TOKENS: Final = 1_000_000
"""Prices are of so many tokens, as every price list has them."""

NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceConfig:
    """One `[models.prices.NAME]` table of orlop.toml: dollars a million tokens.

    NAME is a model as its engine calls it, or `engine/model` for one engine's alone.
    """

    input: Annotated[float, Meta(ge=0, le=1e6)]
    """Of what the model is shown."""
    output: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Of what it writes."""
    cached: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    """Of input that its engine did not compute again; by default as any other input."""


def nano(dollars: float) -> NanoDollars:
    """The nearest, as a decimal fraction has no exact float."""
    return NanoDollars(round(dollars * NANO))


def cost(usage: Usage, card: ModelCard) -> NanoDollars:
    """At the card's prices."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    cached_price = card.input_price if card.cached_price is None else card.cached_price
    millionths = (
        (usage.input_tokens - cached) * card.input_price
        + cached * cached_price
        + usage.output_tokens * card.output_price
    )
    return NanoDollars(-(-millionths // PRICED_TOKENS))


def dearest_input(card: ModelCard) -> int:
    """Of a million input tokens, at worst."""
    return max(card.input_price, card.cached_price or 0)


def bound(cards: Sequence[ModelCard], given: int, written: int) -> NanoDollars:
    """The most that `given` input and `written` output tokens cost on any of `cards`."""
    dearest = max(
        (given * dearest_input(card) + written * card.output_price for card in cards), default=0
    )
    return NanoDollars(-(-dearest // PRICED_TOKENS))


def affordable(cards: Sequence[ModelCard], given: int, money: NanoDollars) -> int | None:
    """Output tokens that fit `money` after `given` input tokens on each card; None: any number."""
    fits = [
        max(0, money * PRICED_TOKENS - given * dearest_input(card)) // card.output_price
        for card in cards
        if card.output_price
    ]
    return min(fits, default=None)
