"""`orlop doctor`: what is wrong with machine, home and kernel, and how to mend it."""

import importlib.util
import os
import platform
import shutil
import socket
import sqlite3
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil

from orlop.abi.admin import HomeInfo
from orlop.abi.errors import KernelError, Misconfigured, NoKernel
from orlop.abi.limits import FREE_BYTES_MIN
from orlop.abi.tools import ToolView
from orlop.devices import shelf
from orlop.devices.artefact import sha256_of
from orlop.machine import plain_clock
from orlop.operate.check import Check
from orlop.operate.running import PORT
from orlop.operate.sandbox_check import sandboxes
from orlop.sdk.operator import Operator
from orlop.sdk.place import INFO_FILE, read_home, runs
from orlop.settings import Settings, models_dir, read_settings

PYTHON_MIN: Final = (3, 11)
SQLITE_SOUND: Final = (3, 51, 3)
"""Before it, a second writer at the wrong moment can corrupt a write-ahead log."""

CLOCK_NS_MIN: Final = 1_735_689_600 * 1_000_000_000
"""2025-01-01: a machine that says less has no clock."""

RAM_BYTES_MIN: Final = 512 * 1024 * 1024
"""The embedded models and a kernel take less."""

SECRET_BITS: Final = stat.S_IRWXG | stat.S_IRWXO
PUBLIC_SUFFIXES: Final = (".pub",)
GIB: Final = 1024**3
LOOPBACK: Final = "127.0.0.1"


def examine(
    home: Path, connect: Callable[[], Operator], models: Path | None = None
) -> Iterator[Check]:
    """Every check, as it is made.

    connect: gives the kernel of `home`.  models: where they lie; None: where orlop.toml says.
    """
    wrong, settings = _settings(home)
    yield _python()
    yield _sqlite()
    yield _clock(home)
    yield _ram()
    yield from sandboxes()
    yield from _home(home)
    yield wrong
    yield from _anchors(settings.journal.anchors)
    yield from _models(models or models_dir(settings))
    yield from _kernel(home, connect)


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < PYTHON_MIN:
        return Check(name="python", state="fail", found=found, fix="install Python 3.11 or newer")
    return Check(name="python", state="ok", found=found)


def _sqlite() -> Check:
    found = sqlite3.sqlite_version
    if tuple(map(int, found.split("."))) < SQLITE_SOUND:
        return Check(
            name="sqlite",
            state="warn",
            found=f"{found}; before 3.51.3 a second writer can corrupt a write-ahead log",
            fix="none needed as long as other tools open journal.db read-only, as the kernel does",
        )
    return Check(name="sqlite", state="ok", found=found)


def _clock(home: Path) -> Check:
    now_ns = plain_clock.wall_ns()
    found = plain_clock.local_text(now_ns)
    journal = home / "journal.db"
    written_ns = journal.stat().st_mtime_ns if journal.exists() else 0
    if now_ns < max(CLOCK_NS_MIN, written_ns):
        return Check(
            name="clock",
            state="warn",
            found=f"{found} lies before what was written already; schedules would run late",
            fix="set the machine's clock",
        )
    return Check(name="clock", state="ok", found=found)


def _ram() -> Check:
    memory = psutil.virtual_memory()
    free, total = int(memory.available), int(memory.total)
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < RAM_BYTES_MIN:
        return Check(
            name="memory",
            state="warn",
            found=found,
            fix="end something else, or use an engine on another machine (`--engine NAME=URL`)",
        )
    return Check(name="memory", state="ok", found=found)


def _home(home: Path) -> Iterator[Check]:
    if not home.is_dir():
        yield Check(name="home", state="ok", found=f"{home} will be made by `orlop up`")
        return
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield Check(
            name="home", state="fail", found=f"{home} is not ours to write", fix=f"chown {home}"
        )
        return
    yield _closed("home", home, "700")
    yield _disk(home)
    secrets = [path for path in sorted(home.glob("keys/*")) if path.suffix not in PUBLIC_SUFFIXES]
    for path in secrets:
        yield _closed("key file", path, "600")


def _settings(home: Path) -> tuple[Check, Settings]:
    """What orlop.toml says, and whether a kernel would start with it."""
    try:
        settings = read_settings(None, home, ())
    except Misconfigured as error:
        wrong = Check(name="settings", state="fail", found=error.message, fix=error.fix)
        return wrong, Settings()
    there = "orlop.toml makes sense" if (home / "orlop.toml").exists() else "as they come"
    return Check(name="settings", state="ok", found=there), settings


def _anchors(paths: Sequence[str]) -> Iterator[Check]:
    """Where checkpoints are copied to: a kernel goes on without, and only its log tells."""
    for path in map(Path, paths):
        there = path if path.exists() else path.parent
        is_fine = os.access(there, os.W_OK)
        yield Check(
            name="journal anchor",
            state="ok" if is_fine else "fail",
            found=str(path) if is_fine else f"{path} can't be written: no checkpoint is copied",
            fix="" if is_fine else f"is {there} there, and may the kernel write to it?",
        )


def _closed(name: str, path: Path, mode: str) -> Check:
    """Nobody else may read it."""
    if path.stat().st_mode & SECRET_BITS:
        return Check(
            name=name,
            state="fail" if path.is_file() else "warn",
            found=f"{path} is open to others",
            fix=f"chmod {mode} {path}",
        )
    return Check(name=name, state="ok", found=str(path))


def _disk(home: Path) -> Check:
    free = shutil.disk_usage(home).free
    found = f"{free / GIB:.1f} GiB free for the journal"
    if free < FREE_BYTES_MIN:
        return Check(
            name="disk",
            state="fail",
            found=f"{found}; the kernel admits nothing below {FREE_BYTES_MIN:,} bytes",
            fix=f"free space on the disk that holds {home}",
        )
    return Check(name="disk", state="ok", found=found)


def _models(folder: Path) -> Iterator[Check]:
    if importlib.util.find_spec("xllamacpp") is None:
        yield Check(
            name="embedded engines",
            state="warn",
            found="not installed: only engines on servers can be used",
            fix="pip install 'orlop[local]'",
        )
    try:
        found = shelf.installed(folder)
    except Misconfigured as error:
        yield Check(name="models", state="fail", found=error.message, fix="orlop pull")
        return
    if not found:
        yield Check(
            name="models",
            state="warn",
            found=f"none in {folder}",
            fix="orlop pull smollm2 minilm, or `orlop up --engine NAME=URL`",
        )
    for model in found:
        yield _digest(folder, model)


def _digest(folder: Path, model: shelf.Model) -> Check:
    path = folder / model.path
    if sha256_of(path) != model.sha256:
        return Check(
            name=f"model {model.name}",
            state="fail",
            found=f"{path} is not the file that was pulled",
            fix=f"rm {path} && orlop pull {model.name}",
        )
    return Check(name=f"model {model.name}", state="ok", found=f"{path}, digest as pulled")


def _kernel(home: Path, connect: Callable[[], Operator]) -> Iterator[Check]:
    try:
        known = read_home(home)
    except NoKernel:
        yield Check(name="kernel", state="ok", found="none runs", fix="orlop up -d")
        yield _port()
        return
    if not runs(known.supervisor_pid):
        yield _stale(home, known)
        return
    try:
        operator = connect()
        info = operator.info()
        cards = operator.inventory().engines
        policy, tools = operator.policy(), operator.tools()
    except KernelError as error:
        found = f"the supervisor (pid {known.supervisor_pid}) lives, but: {error.message}"
        yield Check(name="kernel", state="fail", found=found, fix=error.fix)
        return
    yield Check(
        name="kernel",
        state="ok" if info.ready else "fail",
        found=f"{info.url}, pid {info.os_pid}; " + ("; ".join(info.missing) or "ready"),
        fix="" if info.ready else f"what is missing is in {info.log}",
    )
    for card in cards:
        is_fine = card.health in ("ready", "starting")
        yield Check(
            name=f"engine {card.name}",
            state="ok" if is_fine else "fail",
            found=f"{card.health} {card.reason}".strip(),
            fix="" if is_fine else f"is {card.url or 'its model file'} right, and its server up?",
        )
    yield from _tools(tools)
    yield Check(
        name="policy",
        state="fail" if policy.problem else "ok",
        found=f"{policy.origin} is in force" + (policy.problem and f": {policy.problem}"),
        fix="mend the files, then `orlop policy reload`" if policy.problem else "",
    )


def _tools(views: Sequence[ToolView]) -> Iterator[Check]:
    """Servers of tools, and tools that are not called."""
    servers = Counter(view.card.server for view in views if view.card and view.card.server)
    for view in views:
        if view.state != "ready" and (view.state != "away" or view.card is None):
            yield Check(
                name=f"tool {view.name}",
                state="fail" if view.state == "away" else "warn",
                found=f"{view.state}: {view.reason}",
                fix=view.fix,
            )
    away = {view.name for view in views if view.state == "away"}
    for server, count in sorted(servers.items()):
        if f"{server}.*" not in away:
            yield Check(name=f"tools of {server}", state="ok", found=f"{count} can be called")


def _port() -> Check:
    """Asked for only where no kernel of ours would have it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, PORT))
        except OSError as error:
            found = f"{LOOPBACK}:{PORT} can't be listened on: {error}"
            fix = "none needed: `orlop up` takes another; or name one with --port"
            return Check(name="port", state="warn", found=found, fix=fix)
    return Check(name="port", state="ok", found=f"{LOOPBACK}:{PORT} is free")


def _stale(home: Path, known: HomeInfo) -> Check:
    return Check(
        name="kernel",
        state="fail",
        found=f"{home / INFO_FILE} names supervisor {known.supervisor_pid}, which has ended",
        fix="orlop up -d",
    )
