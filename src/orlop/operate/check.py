"""One finding of `orlop doctor`."""

from typing import Literal

from msgspec import Struct

State = Literal["ok", "warn", "fail"]


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at.  `fix` is empty where there is nothing to mend."""

    name: str
    state: State
    found: str
    fix: str = ""
