"""Ranges of numbers in orlop.toml; `machine.settings` refuses what lies outside, with its line."""

from typing import Annotated, TypeAlias

from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
"""None is a count too."""

Many: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
"""At least one."""

Port: TypeAlias = Annotated[int, Meta(ge=0, le=65_535)]

Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
"""Zero is at once."""

Limit: TypeAlias = Annotated[float, Meta(gt=0, le=1e9)]
"""Seconds that something may take."""

Chances: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
