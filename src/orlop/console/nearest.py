"""What somebody may have meant who has mistyped a command.

Apart from `lazy`, since nobody else needs `difflib`.
"""

from collections.abc import Sequence
from difflib import get_close_matches


def suggestion(wanted: str, names: Sequence[str]) -> str:
    """A question to put behind an error; empty where nothing is near."""
    near = get_close_matches(wanted, [*names, "--help"], n=2, cutoff=0.65)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
