"""Usage to money."""

from orlop.abi.cards import ModelCard
from orlop.abi.hints import Usage
from orlop.abi.ids import NanoDollars


def cost(usage: Usage, card: ModelCard) -> NanoDollars:
    """At the card's prices."""
    return NanoDollars(
        usage.input_tokens * card.input_price + usage.output_tokens * card.output_price
    )
