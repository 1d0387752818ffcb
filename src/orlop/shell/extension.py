"""Commands that come as entry points: those of the floor above, and of other distributions.

Apart from `lazy`, since looking through the installed distributions takes as long as `orlop ps`.
"""

from importlib.metadata import entry_points
from typing import Final

GROUP: Final = "orlop.commands"


def command_named(name: str) -> object:
    """What the entry point called `name` names; None if there is none."""
    for point in entry_points(group=GROUP, name=name):
        found: object = point.load()
        return found
    return None
