"""What looks like a secret: names of environment variables, and the shapes of well-known keys.

The list is in docs/rights.md; it errs towards taking something for a secret that is none.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

NAMES: Final = re.compile(
    r"(?:.*_)?(?:API_?KEY|ACCESS_?KEY|SECRET|SECRET_?KEY|PRIVATE_?KEY|AUTH_?KEY|TOKEN|PASSWORD|"
    r"PASSWD|PASSPHRASE|CREDENTIALS?|CONNECTION_STRING|DSN)(?:_ID|_FILE|_\d+)?"
    r"|AWS_.*|AZURE_.*|GOOGLE_APPLICATION_.*|PGPASS.*|DATABASE_URL|REDIS_URL",
    re.IGNORECASE,
)
"""Of environment variables that hold keys of providers, or credentials of tools."""

KERNELS_OWN: Final = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "ORLOP_INCARNATION",
        "ORLOP_PROCESS",
        "ORLOP_SOCKET",
        "ORLOP_TOKEN",
        "ORLOP_URL",
    }
)
"""Which every process gets from the kernel, whatever it brings."""

SHAPES: Final = {
    "an Anthropic key": r"sk-ant-[A-Za-z0-9_-]{20,}",
    "an OpenAI key": r"sk-(?!ant-)(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}",
    "a Google key": r"AIza[A-Za-z0-9_-]{35}",
    "a Hugging Face token": r"hf_[A-Za-z0-9]{30,}",
    "a Groq key": r"gsk_[A-Za-z0-9]{40,}",
    "an xAI key": r"xai-[A-Za-z0-9]{40,}",
    "a Replicate token": r"r8_[A-Za-z0-9]{30,}",
    "a GitHub token": r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})",
    "a GitLab token": r"glpat-[A-Za-z0-9_-]{20,}",
    "a Slack token": r"xox[abprs]-[A-Za-z0-9-]{20,}",
    "an AWS key": r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    "a Stripe key": r"[rs]k_(?:live|test)_[A-Za-z0-9]{20,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a key of this kernel's": r"orl[ok]_[0-9a-f]{40,}|orlp_[be][A-Za-z0-9_.=-]{100,}",
}
"""What a key looks like that is written into a text."""

SHAPE: Final = re.compile("|".join(f"(?P<k{n}>{shape})" for n, shape in enumerate(SHAPES.values())))
ASSIGNED: Final = re.compile(
    r"""(?ix) (?P<name> [a-z_]* (?:api_?key|secret|token|passw(?:or)?d) [a-z_]* ) ["']? \s*
    (?:=|:) \s* ["'] (?P<value> [A-Za-z0-9_\-./+=]{16,} ) ["'] """
)
"""`api_key = "…"` in a program, whatever the key looks like."""

_WORDS: Final = list(SHAPES)
_PLACEHOLDERS: Final = ("your", "xxxx", "example", "changeme", "placeholder", "dummy", "****")


class Finding(Struct, frozen=True):
    """`start`, `end`: its place in the text."""

    what: str
    start: int
    end: int


def is_secret_name(name: str) -> bool:
    return NAMES.fullmatch(name) is not None


def found(text: str) -> Iterator[Finding]:
    """What has the shape of a key."""
    for match in SHAPE.finditer(text):
        number = int(str(match.lastgroup)[1:])
        yield Finding(_WORDS[number], *match.span())


def hard_coded(line: str) -> Finding | None:
    """What a line of a program gives away, if it does."""
    if (finding := next(found(line), None)) is not None:
        return finding
    match = ASSIGNED.search(line)
    if match is None or any(word in match["value"].lower() for word in _PLACEHOLDERS):
        return None
    return Finding(f"a value of {match['name']}", *match.span("value"))
