"""Files that are there as a whole or not at all."""

import os
from pathlib import Path


def private_folder(path: Path) -> None:
    """Make it, for its owner alone."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def sync_folder(path: Path) -> None:
    """Make names durable that were created or replaced in `path`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make durable what a library has written."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `path` durably: a reader finds the old or the new content, never a mixture."""
    beside = path.with_name(path.name + ".new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(path)
    sync_folder(path.parent)


def sync_data(handle: int) -> None:
    """`fdatasync` where the system has it."""
    getattr(os, "fdatasync", os.fsync)(handle)
