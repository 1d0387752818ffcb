"""orlop.toml with another place for the journal; all else stays as somebody wrote it."""

import json
import re
import tomllib

from orlop.abi.errors import Misconfigured

_TABLE = re.compile(r"^\s*\[")
_JOURNAL = re.compile(r"^\s*\[\s*journal\s*\]\s*(#.*)?$")
_PLACE = re.compile(r"^\s*(url|schema)\s*=")


def with_journal(text: str, url: str, schema: str) -> str:
    """`text` with `[journal] url` and `schema`; without both where `url` is empty.

    Raises `Misconfigured` where the file says it in a way that is not understood here.
    """
    place = [f"url = {json.dumps(url)}", f"schema = {json.dumps(schema)}"] if url else []
    lines: list[str] = []
    inside = found = False
    for line in text.splitlines():
        if _TABLE.match(line):
            inside = bool(_JOURNAL.match(line))
            if inside:
                found = True
                lines += [line, *place]
                continue
        if inside and _PLACE.match(line):
            continue
        lines.append(line)
    if not found and place:
        lines += ["", "[journal]", *place]
    made = "\n".join(lines).strip("\n") + "\n"
    said = tomllib.loads(made).get("journal", {})
    if said.get("url", "") != url or (url and said.get("schema") != schema):
        raise Misconfigured(
            "orlop.toml: the place of the journal is written in a way that can't be changed here; "
            f"write [journal] url = {url!r} yourself"
        )
    return made
