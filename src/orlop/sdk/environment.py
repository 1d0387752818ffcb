"""Which environment variables a program takes along into the kernel's processes.

What is passed on is written to the journal with the process, so that a restart finds it again.
So it is a list of what is harmless and needed: never keys of model providers, never secrets.
"""

import os
from collections.abc import Iterable, Mapping

from orlop.abi.errors import BadCall

PASSED_ON = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "PATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
    }
)
PASSED_ON_PREFIXES = ("LC_", "PYTHON", "XDG_")


def passed_on(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that every process gets from the program that starts it."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }


def with_named(named: Iterable[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`passed_on`, and what the user names: `NAME=value`, or `NAME` for its present value.

    Raises `BadCall` for a name that is not set.
    """
    chosen = passed_on(environ)
    for item in named:
        name, equals, value = item.partition("=")
        if not equals and name not in environ:
            raise BadCall(f"--env {name}: no such variable is set; write {name}=value")
        chosen[name] = value if equals else environ[name]
    return chosen
