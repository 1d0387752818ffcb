"""Python functions named in orlop.toml: a subprocess each call, their cards from their types."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.errors import Misconfigured
from orlop.effects.command import INHERITED, SAID_CHARS_MAX, ToolConfig
from orlop.effects.mcp_stdio import environment

DESCRIBE_S: Final = 20.0
"""How long a module may take to be imported."""


class _Said(Struct):
    description: str
    parameters: dict[str, object]
    results: dict[str, object]


def command(address: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "orlop.programs.function", address)


async def described(name: str, config: ToolConfig) -> ToolConfig:
    """The tool as a command; what orlop.toml does not say of it, its function does.

    Raises `Misconfigured` where it can't be loaded.
    """
    if not config.python:
        return config
    if config.command:
        raise Misconfigured(f"[tools.{name}]: needs `command` or `python`, and not both")
    config = replace(config, command=command(config.python), python="")
    if config.parameters:
        return config
    if config.sandbox is not None:
        raise Misconfigured(
            f"[tools.{name}] parameters: say them, since a function that runs in a sandbox is not "
            "loaded outside of it to be asked for its types"
        )
    said = await _ask(name, config)
    return replace(
        config,
        parameters=said.parameters,
        results=config.results or said.results,
        description=config.description or said.description,
    )


async def gather_described(tools: Mapping[str, ToolConfig]) -> dict[str, ToolConfig]:
    """All of orlop.toml's, side by side."""
    found = await asyncio.gather(*(described(name, entry) for name, entry in tools.items()))
    return dict(zip(tools, found, strict=True))


async def _ask(name: str, config: ToolConfig) -> _Said:
    child = await asyncio.create_subprocess_exec(
        *config.command,
        "--describe",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=config.cwd or None,
        env=environment(config.env, INHERITED),
    )
    try:
        async with asyncio.timeout(DESCRIBE_S):
            out, said = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise Misconfigured(
            f"[tools.{name}] python: {config.command[-1]} took more than {DESCRIBE_S:g} s to load"
        ) from None
    if child.returncode != 0:
        tail = said.decode(errors="replace")[-SAID_CHARS_MAX:].strip()
        raise Misconfigured(f"[tools.{name}] python: {tail}")
    return msgspec.json.decode(out, type=_Said)
