"""Which environment variables a program takes along into the kernel's processes.

What is passed on is written to the journal with the process, so that a restart finds it again.
So it is a list of what is harmless and needed: never keys of model providers, never secrets, unless
the user insists.
"""

import os
from collections.abc import Iterable, Mapping

from orlop.abi.errors import BadCall
from orlop.abi.secret_words import KERNELS_OWN, found, is_secret_name

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


def here() -> str:
    """The folder that this program is in.  Raises `BadCall` where it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise BadCall("the folder that this is started in was removed: `cd` to another") from error


def passed_on(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that every process gets from the program that starts it."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if (name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)) and not is_secret_name(name)
    }


def with_named(
    named: Iterable[str], kept: Iterable[str] = (), environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """`passed_on`, and what the user names: `NAME=value`, or `NAME` for its present value.

    kept: names that are passed on although they hold secrets.
    Raises `BadCall` for a name that is not set, and for a secret that is not to be kept.
    """
    chosen, kept = passed_on(environ), tuple(kept)
    for item in named:
        name, equals, value = item.partition("=")
        if not equals and name not in environ:
            raise BadCall(f"--env {name}: no such variable is set; write {name}=value")
        chosen[name] = value if equals else environ[name]
        _require_harmless(name, chosen[name], kept)
    for name in kept:
        if name in KERNELS_OWN:
            raise BadCall(
                f"--keep-env {name}: every process has the kernel's own; use another name"
            )
        if name not in environ and name not in chosen:
            raise BadCall(f"--keep-env {name}: no such variable is set")
        chosen.setdefault(name, environ.get(name, ""))
    return chosen


def _require_harmless(name: str, value: str, kept: tuple[str, ...]) -> None:
    """Raises `BadCall`."""
    if name in KERNELS_OWN:
        raise BadCall(f"--env {name}: every process has the kernel's own; use another name")
    if name in kept:
        return
    finding = next(found(value), None)
    if is_secret_name(name) or finding is not None:
        what = finding.what if finding is not None else "a key or a credential, by its name"
        raise BadCall(
            f"--env {name} would pass on {what}, and agents need none: models and tools are called "
            f"through the kernel.  If this one must have it: --keep-env {name}"
        )
