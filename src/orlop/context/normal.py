"""Texts without what changes from run to run, for finding a call in the record and only for that.

A program that writes today's date or a fresh id into its prompts asks something new each time it
starts, and no record could answer it.  Where its owner says so, such words do not count.  Two calls
that differ in nothing else are then told apart by their order.
"""

import re
from collections.abc import Sequence
from typing import Final

from orlop.abi.calls import Normalizer

_DAY: Final = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?,? "
_MONTH: Final = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    r"Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_TIME: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
_ZONE: Final = r"(?: ?(?:Z\b|UTC\b|GMT\b|[+-]\d{2}:?\d{2}\b))?"

_DATES: Final = re.compile(
    rf"\b\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]{_TIME}{_ZONE})?"  # RFC 3339
    rf"|\b(?:{_DAY})?\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? \d{{4}}(?:,? (?:at )?{_TIME}{_ZONE})?"
    rf"|\b(?:{_DAY})?{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}(?:,? (?:at )?{_TIME}{_ZONE})?"
    rf"|\b\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{4}}(?:,? {_TIME}{_ZONE})?"
    rf"|\b{_TIME}{_ZONE}"
    r"|\b1[4-9]\d{8}(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?\b"  # Unix time, in s, ms, us or ns
)
_IDS: Final = re.compile(
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"  # UUID
    r"|\b[a-z]{2,12}[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{12,}\b"  # call_…, chatcmpl-…, TypeIDs
    r"|\b(?=[0-9a-fA-F]*[a-fA-F])(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}\b"
)
_RULES: Final = {"dates": (_DATES, "<date>"), "ids": (_IDS, "<id>")}


def normal(text: str, rules: Sequence[Normalizer]) -> str:
    """`text` with a mark in the place of each word that does not count."""
    # Ids first: a date may stand within one, and never the other way round.
    for rule in sorted(rules, reverse=True):
        pattern, mark = _RULES[rule]
        text = pattern.sub(mark, text)
    return text
