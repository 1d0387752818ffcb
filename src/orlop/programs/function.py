"""Runs one Python function as a tool: `python -m orlop.programs.function MODULE:NAME [--describe]`.

Arguments come as JSON on standard input, the result goes as JSON to standard output; what the
function itself prints goes to standard error, where it harms nothing.
"""

import asyncio
import contextlib
import importlib
import os
import sys
import traceback
from typing import Final

import msgspec

from orlop.abi.errors import BadCall
from orlop.sdk.functions import Described, plain

FAILED: Final = 1
UNUSABLE: Final = 2
"""The function can't be found, or has no schema."""


def load(address: str) -> Described:
    """Raises `BadCall`."""
    place, found, name = address.partition(":")
    if not found:
        raise BadCall(f"{address!r} should be `package.module:function`")
    target: object = importlib.import_module(place)
    for part in name.split("."):
        target = getattr(target, part, None)
    if not callable(target):
        raise BadCall(f"{address}: there is no function {name!r} in {place}")
    return Described(target, name.rpartition(".")[2])


def main() -> int:
    address = sys.argv[1]
    sys.path.insert(0, os.getcwd())
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        try:
            described = load(address)
        except Exception as error:  # Whatever its module does when it is loaded.
            sys.stderr.write(f"{address}: {type(error).__name__}: {error}\n")
            return UNUSABLE
        if "--describe" in sys.argv:
            said: object = {
                "description": described.description,
                "parameters": described.parameters,
                "results": described.results,
            }
        else:
            try:
                said = called(described)
            except Exception as error:
                traceback.print_exc()
                sys.stderr.write(f"{described.name} raised {type(error).__name__}: {error}\n")
                return FAILED
    out.write(msgspec.json.encode(said).decode())
    return 0


def called(described: Described) -> object:
    arguments = msgspec.json.decode(sys.stdin.buffer.read() or b"{}", type=dict[str, object])
    key = os.environ.get("ORLOP_KEY", "")
    if described.is_async:
        return asyncio.run(described.call(arguments, key))
    return plain(described.run(arguments, key))


if __name__ == "__main__":
    sys.exit(main())
