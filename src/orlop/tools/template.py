"""Arguments made of an earlier call: `{result.order.id}` in a text stands for what lies there.

A text that is one such place and nothing else becomes the value itself, whatever it is; `{{` is a
brace.  Roots: `arguments` and `result` of the call, and `key`, its effect's name.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from orlop.abi.errors import BadCall

ROOTS: Final = ("arguments", "result", "key")
PLACE: Final = re.compile(r"\{\{|\{([^{}]*)\}")


def roots(template: object) -> set[str]:
    """What the template asks for.  Raises `BadCall` for a place that can't exist."""
    if isinstance(template, dict):
        return set[str]().union(*(roots(child) for child in template.values()))
    if isinstance(template, list | tuple):
        return set[str]().union(*(roots(child) for child in template))
    if not isinstance(template, str):
        return set()
    found = {match[1].split(".")[0] for match in PLACE.finditer(template) if match[0] != "{{"}
    if wrong := found - set(ROOTS):
        raise BadCall(f"{{{wrong.pop()}}} begins with none of {', '.join(ROOTS)}")
    return found


def filled(template: object, given: Mapping[str, object]) -> object:
    """The template with its places filled.  Raises `BadCall` where one is missing."""
    if isinstance(template, dict):
        return {name: filled(child, given) for name, child in template.items()}
    if isinstance(template, list | tuple):
        return [filled(child, given) for child in template]
    if not isinstance(template, str):
        return template
    whole = PLACE.fullmatch(template)
    if whole is not None and whole[0] != "{{":
        return _at(whole[1], given)

    def said(match: re.Match[str]) -> str:
        return "{" if match[0] == "{{" else _text(_at(match[1], given))

    return PLACE.sub(said, template)


def _at(path: str, given: Mapping[str, object]) -> object:
    found: object = given
    for part in path.split("."):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list | tuple) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise BadCall(f"{{{path}}}: there is no {part!r}")
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
