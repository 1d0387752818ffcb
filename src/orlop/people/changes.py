"""Where two sets of arguments differ, value by value.  Pure."""

from collections.abc import Iterator

import msgspec

from orlop.abi.limits import CHANGES_SHOWN_MAX
from orlop.abi.questions import Change


def changes(was: dict[str, object], now: dict[str, object]) -> tuple[Change, ...]:
    """At most `CHANGES_SHOWN_MAX`, and then one that says how many more there are."""
    found = list(_between("", was, now))
    if len(found) > CHANGES_SHOWN_MAX:
        left = len(found) - CHANGES_SHOWN_MAX
        found = [*found[:CHANGES_SHOWN_MAX], Change(path=f"… and {left} more")]
    return tuple(found)


def _between(path: str, was: object, now: object) -> Iterator[Change]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            inner = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if key not in now:
                yield Change(path=inner, was=_json(was[key]))
            elif key not in was:
                yield Change(path=inner, now=_json(now[key]))
            else:
                yield from _between(inner, was[key], now[key])
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (old, new) in enumerate(zip(was, now, strict=True)):
            yield from _between(f"{path}/{place}", old, new)
    elif _json(was) != _json(now):
        yield Change(path=path, was=_json(was), now=_json(now))


def _json(value: object) -> str:
    """As JSON, where 1 and 1.0 and true are three things."""
    return msgspec.json.encode(value).decode()
