"""`orlop doctor --agent DIR`: keys that are written into an agent's files.

An agent needs none: its models and tools are called through the kernel.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orlop.abi.errors import Misconfigured
from orlop.abi.secret_words import hard_coded
from orlop.operate.check import Check

FILE_BYTES_MAX: Final = 1_048_576
"""Larger files are no programs; they are named and not read."""

FILES_MAX: Final = 20_000
FINDINGS_MAX: Final = 200
LINE_CHARS_MAX: Final = 2_000

SKIPPED: Final = frozenset(
    {".git", ".hg", ".mypy_cache", ".ruff_cache", ".tox", ".venv", "__pycache__", "node_modules"}
)
"""Folders of what others have written."""

FIX: Final = (
    "take it out, and have it replaced where it came from: it may have been copied. Models are "
    "called at OPENAI_BASE_URL with the process's own token; a tool's key belongs in orlop.toml "
    "(`key_file`)"
)


def examine(folder: Path) -> Iterator[Check]:
    """A check for each key that is found; one that all is well if none is.

    Raises `Misconfigured` where there is no such folder.
    """
    if not folder.is_dir():
        raise Misconfigured(f"--agent {folder}: there is no such folder")
    files = findings = 0
    unread: list[str] = []
    for path in _files(folder):
        files += 1
        if files > FILES_MAX:
            unread.append(f"what comes after the first {FILES_MAX} files")
            break
        text = _text(path)
        if text is None:
            unread.append(str(path.relative_to(folder)))
            continue
        for number, line in enumerate(text.splitlines(), 1):
            finding = hard_coded(line[:LINE_CHARS_MAX])
            if finding is not None and findings < FINDINGS_MAX:
                findings += 1
                where = f"{path.relative_to(folder)}:{number}"
                # Never the key itself: this is shown, and kept in terminals' histories.
                yield Check(name="agent", state="fail", found=f"{where}: {finding.what}", fix=FIX)
    if unread:
        shown = ", ".join(unread[:5]) + (" …" if len(unread) > 5 else "")
        yield Check(name="agent", state="warn", found=f"{len(unread)} not read: {shown}")
    if not findings:
        yield Check(name="agent", state="ok", found=f"no keys in {files - len(unread)} files")


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _text(path: Path) -> str | None:
    """None where it is too large or can't be read; a binary has no lines."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return "" if b"\0" in data[:4_096] else data.decode(errors="replace")
