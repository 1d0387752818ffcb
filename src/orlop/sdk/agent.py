"""`@orlop.agent`: an asynchronous function that can run as a process of its own.

    @orlop.agent
    async def triage(kernel: orlop.Kernel, ticket: str) -> str: ...

    child = await kernel.spawn(triage, "My parcel is lost")     # as a process
    answer = await triage(kernel, "My parcel is lost")          # as a plain function
    triage.run("My parcel is lost")                             # as a script

As a process, what it returns becomes the note of the outcome `succeeded` and exit status 0; an
exception becomes the outcome `failed` and exit status 1.  Arguments travel as JSON.
"""

import asyncio
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Concatenate, Final, Generic, ParamSpec, TypeVar

import msgspec

from orlop.abi.errors import BadCall, KernelError
from orlop.sdk.kernel import Kernel, connect

SCRIPT: Final = "__orlop_script__"
"""The module that a script becomes when an agent in it is started by the script's path."""

P = ParamSpec("P")
R = TypeVar("R")


class Agent(Generic[P, R]):
    """A function that takes the kernel and its own arguments."""

    def __init__(self, function: Callable[Concatenate[Kernel, P], Awaitable[R]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    async def __call__(self, kernel: Kernel, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._function(kernel, *args, **kwargs)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Connect to the kernel and run here, in this program."""

        async def connected() -> R:
            async with connect() as kernel:
                return await self._function(kernel, *args, **kwargs)

        return asyncio.run(connected())

    def command(self, *arguments: object) -> tuple[str, ...]:
        """The command line that runs this agent as a process; `kernel.spawn` uses it."""
        packed = msgspec.json.encode(arguments).decode()
        return (sys.executable, "-m", "orlop.sdk.agent", self._address(), packed)

    def _address(self) -> str:
        """`module:function`; a script's functions are found by the script's path."""
        module = self._function.__module__
        if module in ("__main__", SCRIPT):
            path = getattr(sys.modules[module], "__file__", None)
            if path is None:
                raise BadCall("an agent typed into a prompt can't be spawned; put it in a file")
            module = str(Path(path).resolve())
        return f"{module}:{self.__name__}"


def agent(function: Callable[Concatenate[Kernel, P], Awaitable[R]]) -> Agent[P, R]:
    """Make an agent of an asynchronous function at the top of a module."""
    return Agent(function)


def load(address: str) -> Agent[..., object]:
    """The agent that `command` names."""
    place, _, name = address.rpartition(":")
    module = _load_script(place) if place.endswith(".py") else importlib.import_module(place)
    found = getattr(module, name, None)
    if not isinstance(found, Agent):
        raise BadCall(f"{address} is no @orlop.agent")
    return found


def _load_script(path: str) -> ModuleType:
    """A file as a module, with its folder to import from, as when it is run."""
    spec = importlib.util.spec_from_file_location(SCRIPT, path)
    if spec is None or spec.loader is None:
        raise BadCall(f"{path} can't be loaded")
    sys.path.insert(0, str(Path(path).parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[SCRIPT] = module
    spec.loader.exec_module(module)
    return module


async def serve(chosen: Agent[..., object], arguments: list[object]) -> int:
    """Run as the process that the environment names; gives the exit status."""
    async with connect() as kernel:
        try:
            value = await chosen(kernel, *arguments)
        except Exception as error:  # whatever it is, it is how this agent ended
            sys.stderr.write(traceback.format_exc())
            await _state_failure(kernel, error)
            return 1
        if not kernel.has_outcome:
            await kernel.outcome("succeeded", _note(value))
        return 0


async def _state_failure(kernel: Kernel, error: Exception) -> None:
    if kernel.has_outcome:
        return
    try:
        await kernel.outcome("failed", f"{type(error).__name__}: {error}")
    except KernelError as refusal:
        # The exit status still tells; a killed or fenced process may not call any more.
        sys.stderr.write(f"the outcome could not be stated: {refusal}\n")


def _note(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()


def main() -> None:
    """`python -m orlop.sdk.agent ADDRESS ARGUMENTS`."""
    address, packed = sys.argv[1:]
    # A script run by `-m` has this package's folder, not the caller's, in front.
    sys.path.insert(0, "")
    arguments = msgspec.json.decode(packed, type=list[object])
    sys.exit(asyncio.run(serve(load(address), arguments)))


if __name__ == "__main__":
    # Under `-m` this file would exist twice, as `__main__` and under its name; agents know the
    # latter's classes.
    importlib.import_module("orlop.sdk.agent").main()
