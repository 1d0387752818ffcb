"""An operating system for AI agents.  Start at `orlop.boot`, then `orlop.kernel.syscall`.

The names below load when they are first used: `import orlop` alone costs nothing, and programs
that use the synchronous client never load aiohttp.  `__init__.pyi` tells type checkers the same.
"""

import importlib

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Kernel",
    "KernelError",
    "Process",
    "SyncKernel",
    "SyncProcess",
    "agent",
    "connect",
    "connect_sync",
    "effect_key",
    "narrowed",
]

_HOMES = {
    "Agent": "orlop.sdk.agent",
    "Kernel": "orlop.sdk.kernel",
    "KernelError": "orlop.abi.errors",
    "Process": "orlop.sdk.kernel",
    "SyncKernel": "orlop.sdk.sync",
    "SyncProcess": "orlop.sdk.sync",
    "agent": "orlop.sdk.agent",
    "connect": "orlop.sdk.kernel",
    "connect_sync": "orlop.sdk.sync",
    "effect_key": "orlop.sdk.functions",
    "narrowed": "orlop.sdk.tokens",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'orlop' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
