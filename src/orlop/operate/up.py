"""`orlop up` and `orlop down`: the supervisor.

It holds the listening sockets, so that nobody is refused while a kernel dies and the next one
boots, and the write end of the lifeline, so that nothing outlives it.  It knows nothing else.
"""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

import orlop
from orlop.abi.admin import HomeInfo
from orlop.abi.errors import Conflict, Misconfigured, NotReady
from orlop.access.principal import OPERATOR_PREFIX
from orlop.boot import EXIT_AGAIN, EXIT_MISCONFIGURED
from orlop.devices.artefact import write_atomic
from orlop.http import tls
from orlop.http.place import HttpConfig
from orlop.machine import plain_clock
from orlop.operate.running import LOCK, PORT, answers, read_info
from orlop.settings import Settings, read_settings
from orlop.store import files
from orlop.store.secrets import secret_file

log = logging.getLogger(__name__)

BACKLOG: Final = 2_048
"""Connections that may wait while the next kernel boots."""

SOCKET_PATH_MAX: Final = 100
"""Bytes; the operating system allows 107."""

CRASHES_MAX: Final = 8
CRASHES_WITHIN_S: Final = 20.0
"""A kernel that dies this often in this time is not started again."""

STOP_S: Final = 12.0
"""From SIGTERM to SIGKILL for the kernel."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The two held sockets, and how others reach them."""

    tcp: socket.socket
    unix: socket.socket
    url: str
    path: str


def prepare(home: Path, config: Path | None, engines: Sequence[str]) -> Settings:
    """All that can be wrong before anything starts.  Raises `Misconfigured`."""
    try:
        for folder in (home, home / "log", home / "run", home / "engines"):
            files.private_folder(folder)
    except OSError as error:
        raise Misconfigured(f"{home} can't be made: {error}") from error
    settings = read_settings(config, home, engines)
    tls.check(settings.http)
    return settings


def listen(home: Path, http: HttpConfig, port: int | None) -> Listeners:
    """Bind both sockets.  port: None means the usual one, else any.  Raises `Conflict`."""
    host = http.host
    tcp = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for wanted in (PORT, 0) if port is None else (port,):
        try:
            tcp.bind((host, wanted))
            break
        except OSError as error:
            failed = error
    else:
        tcp.close()
        raise Conflict(f"{host}:{wanted} can't be listened on: {failed}") from failed
    tcp.listen(BACKLOG)
    path = home / "kernel.sock"
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/orlop-{os.getuid()}")
        files.private_folder(runtime)
        path = runtime / f"{os.getpid()}.sock"
    path.unlink(missing_ok=True)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    path.chmod(0o600)
    unix.listen(BACKLOG)
    shown = http.name or (f"[{host}]" if ":" in host else host)
    scheme = "https" if http.tls_cert else "http"
    return Listeners(tcp, unix, f"{scheme}://{shown}:{tcp.getsockname()[1]}", str(path))


def lock(home: Path) -> int:
    """One supervisor a home.  Raises `Conflict`."""
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "?"
        os.close(handle)
        raise Conflict(f"{home} is up already (supervisor {holder}); `orlop info`") from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def kernel_environment() -> dict[str, str]:
    """Ours, but bytecode may be kept: everybody waits for the next kernel to be imported."""
    return {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}


class Supervisor:
    """Starts kernels one after another until it is told to stop."""

    def __init__(
        self, home: Path, listeners: Listeners, config: Path | None, engines: Sequence[str]
    ) -> None:
        self._home = home
        self._listeners = listeners
        self._config = config
        self._engines = engines
        self._lifeline, self._lifeline_end = os.pipe()
        self._kernel: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """Returns the exit status."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGALRM, self._give_up)
        crashes: list[float] = []
        status = 0
        while not self._stopping:
            status = self._one_kernel()
            if self._stopping or status in (0, EXIT_MISCONFIGURED):
                break
            if status == EXIT_AGAIN:
                continue
            now_s = plain_clock.now_s()
            crashes = [when for when in crashes if now_s - when < CRASHES_WITHIN_S] + [now_s]
            log.warning("the kernel ended with status %d; starting the next", status)
            if len(crashes) >= CRASHES_MAX:
                log.error("the kernel died %d times in %g s", CRASHES_MAX, CRASHES_WITHIN_S)
                break
        os.close(self._lifeline_end)
        return 0 if self._stopping else status

    def _one_kernel(self) -> int:
        listeners = self._listeners
        command = [sys.executable, "-m", "orlop.boot", f"--home={self._home}"]
        command += [f"--url={listeners.url}", f"--socket={listeners.path}"]
        command += [f"--lifeline={self._lifeline}", f"--supervisor={os.getpid()}"]
        descriptors = [listeners.tcp.fileno(), listeners.unix.fileno()]
        command += [f"--listener={number}" for number in descriptors]
        command += [f"--engine={engine}" for engine in self._engines]
        if self._config is not None:
            command.append(f"--config={self._config}")
        with (self._home / "log" / "kernel.log").open("ab") as output:
            self._kernel = subprocess.Popen(
                command,
                env=kernel_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[*descriptors, self._lifeline],
                start_new_session=True,
            )
        if self._stopping:
            self._kernel.terminate()
        return self._kernel.wait()

    def _stop(self, number: int, frame: object) -> None:
        if not self._stopping:
            # The wait for the kernel goes on after a signal, so only another one can end it.
            signal.setitimer(signal.ITIMER_REAL, STOP_S)
        self._stopping = True
        if self._kernel is not None and self._kernel.poll() is None:
            self._kernel.terminate()

    def _give_up(self, number: int, frame: object) -> None:
        if self._kernel is not None and self._kernel.poll() is None:
            log.warning("the kernel did not stop within %g s; killing it", STOP_S)
            self._kernel.kill()


def up(
    home: Path,
    detach: bool,
    port: int | None,
    engines: Sequence[str],
    config: Path | None,
    say: Callable[[str], None],
) -> int:
    """Start the system in `home`; in the foreground until SIGTERM or Ctrl-C, else at once.

    Raises `Misconfigured`, `Conflict`; then nothing was started.
    """
    home = home.expanduser().resolve()
    config = config.resolve() if config is not None else None
    settings = prepare(home, config, engines)
    token = first_token(home)
    if detach:
        status = _detached(home, port, engines, config, say)
        _say_token(token, say)
        return status
    handle = lock(home)
    listeners = listen(home, settings.http, port if port is not None else settings.http.port)
    info = HomeInfo(
        url=listeners.url,
        socket=listeners.path,
        home=str(home),
        supervisor_pid=os.getpid(),
        version=orlop.__version__,
        airgap=settings.egress.airgap,
    )
    write_atomic(home / "info.json", msgspec.json.encode(info), 0o600)
    say(f"orlop {orlop.__version__} at {listeners.url}")
    say(f"  home    {home}")
    say(f"  socket  {listeners.path}")
    say(f"  log     {home / 'log' / 'kernel.log'}")
    _say_token(token, say)
    try:
        return Supervisor(home, listeners, config, engines).run()
    finally:
        (home / "info.json").unlink(missing_ok=True)
        Path(listeners.path).unlink(missing_ok=True)
        os.close(handle)


def first_token(home: Path) -> str:
    """The operator's token, made now; empty where there is one: it is shown once.

    Raises `Misconfigured` where others can read it.
    """
    path = home / "keys" / "operator.token"
    is_known = path.exists()
    token = secret_file(path, OPERATOR_PREFIX)
    return "" if is_known else token


def _say_token(token: str, say: Callable[[str], None]) -> None:
    if token:
        say(f"  token   {token}")
        say("          the operator's, who may do everything; shown once, kept in keys/")


def _detached(
    home: Path,
    port: int | None,
    engines: Sequence[str],
    config: Path | None,
    say: Callable[[str], None],
) -> int:
    """A supervisor in the background; returns once its kernel answers."""
    os.close(lock(home))
    command = [sys.executable, "-m", "orlop.shell.main", "up", "--home", str(home)]
    command += ["--port", str(port)] if port is not None else []
    command += ["--config", str(config)] if config is not None else []
    for engine in engines:
        command += ["--engine", engine]
    (home / "info.json").unlink(missing_ok=True)
    with (home / "log" / "supervisor.log").open("ab") as output:
        supervisor = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    give_up_s = plain_clock.now_s() + STOP_S
    while plain_clock.now_s() < give_up_s:
        if supervisor.poll() is not None:
            raise NotReady(f"the supervisor ended at once; see {home / 'log'}")
        info = read_info(home)
        if info is not None and answers(info.socket):
            say(f"orlop {info.version} is up at {info.url} (home {home})")
            return 0
        plain_clock.pause(0.02)
    raise NotReady(f"no answer within {STOP_S:g} s; see {home / 'log'}")
