"""`orlop up` and `orlop down`: the supervisor.

It holds the listening sockets, so that nobody is refused while a kernel dies and the next one
boots, and the write end of the lifeline, so that nothing outlives it.  It does nothing else: each
kernel is a copy of it that had not begun, so that nobody waits while the house is imported again.
"""

import fcntl
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import msgspec

import orlop
from orlop import boot
from orlop.abi.admin import HomeInfo
from orlop.abi.errors import Conflict, JournalAway, KernelError, Misconfigured, NotReady
from orlop.abi.limits import CLIENT_PATIENCE_S
from orlop.access.principal import OPERATOR_PREFIX
from orlop.assembly import preload
from orlop.devices.artefact import write_atomic
from orlop.http import tls
from orlop.http.place import HttpConfig
from orlop.machine import plain_clock
from orlop.machine.output import speak_to
from orlop.machine.settings import placed
from orlop.operate.running import DATABASE_S, LOCK, PORT, answers
from orlop.sdk.link import Link
from orlop.sdk.operator import Operator
from orlop.sdk.place import find
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

LOG_END_BYTES: Final = 8_192
"""Of the kernel's log, in which its last words are looked for."""

GLANCE_S: Final = 0.02
"""Between two looks whether it answers."""

AWAY_GLANCE_S: Final = 0.25
"""Between two looks whether the database is back."""

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
"""What the supervisor hears."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The two held sockets, and how others reach them."""

    tcp: socket.socket
    unix: socket.socket
    url: str
    path: str


def prepare(home: Path, config: Path | None, engines: Sequence[str]) -> Settings:
    """All that can be wrong before anything starts.  Raises `Misconfigured`."""
    if not str(home).isprintable():
        raise Misconfigured(f"{str(home)!r} can't be used as a home: choose a name that prints")
    try:
        for folder in (home, home / "log", home / "run", home / "engines"):
            files.private_folder(folder)
    except OSError as error:
        raise Misconfigured(f"{home} can't be used as a home: {error.strerror}") from error
    settings = read_settings(config, home, engines)
    try:
        tls.check(settings.http)
    except Misconfigured as error:
        raise placed(config or home / "orlop.toml", error) from error
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


class Supervisor:
    """Starts kernels one after another until it is told to stop."""

    def __init__(
        self,
        home: Path,
        listeners: Listeners,
        config: Path | None,
        engines: Sequence[str],
        held: int | None = None,
    ) -> None:
        """held: the home's lock, which no kernel may hold on to."""
        self._home = home
        self._listeners = listeners
        self._config = config
        self._engines = engines
        self._held = held
        self._lifeline, self._lifeline_end = os.pipe()
        self._kernel: int | None = None
        """Its process id."""
        self._stopping = False

    def run(self) -> int:
        """Returns the exit status."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGALRM, self._give_up)
        crashes: list[float] = []
        was_away = False
        status = 0
        while not self._stopping:
            status = self._one_kernel()
            if self._stopping or status in (0, boot.EXIT_MISCONFIGURED):
                break
            if status == boot.EXIT_AGAIN:
                if not was_away:
                    log.warning("the journal's database is away: %s", _last_words(self._home))
                was_away = True
                continue
            was_away = False
            now_s = plain_clock.now_s()
            crashes = [when for when in crashes if now_s - when < CRASHES_WITHIN_S] + [now_s]
            log.warning("the kernel ended with status %d; starting the next", status)
            if len(crashes) >= CRASHES_MAX:
                log.error("the kernel died %d times in %g s", CRASHES_MAX, CRASHES_WITHIN_S)
                break
        os.close(self._lifeline_end)
        return 0 if self._stopping else status

    def _one_kernel(self) -> int:
        """From its start to its end; its exit status."""
        # A signal waits until whoever it finds, we or the copy, knows which of the two it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._kernel = os.fork()
        if self._kernel == 0:
            self._become_kernel()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if self._stopping:
            os.kill(self._kernel, signal.SIGTERM)
        _, status = os.waitpid(self._kernel, 0)
        self._kernel = None
        return os.waitstatus_to_exitcode(status)

    def _become_kernel(self) -> NoReturn:
        """The copy's whole life.  Nothing of the supervisor's runs on in it."""
        status = 1
        try:
            os.setsid()
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(self._lifeline_end)
            if self._held is not None:
                os.close(self._held)
            speak_to(self._home / "log" / "kernel.log")
            call_oneself("orlop-kernel")
            status = boot.main(self._arguments())
        except BaseException:
            log.exception("the kernel has ended in a bug")
        finally:
            logging.shutdown()
            os._exit(status)

    def _arguments(self) -> list[str]:
        listeners = self._listeners
        arguments = [f"--home={self._home}", f"--url={listeners.url}", f"--socket={listeners.path}"]
        arguments += [f"--lifeline={self._lifeline}", f"--supervisor={os.getppid()}"]
        descriptors = (listeners.tcp.fileno(), listeners.unix.fileno())
        arguments += [f"--listener={number}" for number in descriptors]
        arguments += [f"--engine={engine}" for engine in self._engines]
        if self._config is not None:
            arguments.append(f"--config={self._config}")
        return arguments

    def _stop(self, number: int, frame: object) -> None:
        if not self._stopping:
            # The wait for the kernel goes on after a signal, so only another one can end it.
            signal.setitimer(signal.ITIMER_REAL, STOP_S)
        self._stopping = True
        self._tell(signal.SIGTERM)

    def _give_up(self, number: int, frame: object) -> None:
        log.warning("the kernel did not stop within %g s; killing it", STOP_S)
        self._tell(signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        if self._kernel is not None:
            with suppress(ProcessLookupError):
                os.kill(self._kernel, number)


def call_oneself(name: str) -> None:
    """As `top` and `pgrep` show it, where the system lets a process choose; 15 characters."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def up(
    home: Path,
    detach: bool,
    port: int | None,
    engines: Sequence[str],
    config: Path | None,
    say: Callable[[str], None],
    patience_s: float = DATABASE_S,
) -> int:
    """Start the system in `home`; in the foreground until SIGTERM or Ctrl-C, else at once.

    patience_s: how long the journal's database is waited for, with `detach`.
    Raises `Misconfigured`, `Conflict`; then nothing was started; and `JournalStopped` where the
    kernel runs but has no journal.
    """
    home = home.expanduser().resolve()
    config = config.resolve() if config is not None else None
    settings = prepare(home, config, engines)
    token = first_token(home)
    handle = lock(home)
    listeners = listen(home, settings.http, port if port is not None else settings.http.port)
    preload(settings)
    gc.freeze()  # What is imported lies in RAM once, for us and for every kernel.
    sys.stdout.flush()
    if detach and (supervisor := os.fork()):
        os.close(handle)
        _await_kernel(supervisor, listeners.path, home)
        _await_journal(home, token, patience_s, say)
        return 0
    if detach:
        _supervise_unseen(home, handle, listeners, settings, config, engines)
    say(f"orlop {orlop.__version__} at {listeners.url}")
    say(f"  home    {home}")
    say(f"  socket  {listeners.path}")
    say(f"  log     {home / 'log' / 'kernel.log'}")
    _say_token(token, say)
    status = _supervise(home, handle, listeners, settings, config, engines)
    if status == boot.EXIT_MISCONFIGURED:
        raise _no_kernel(status, home)
    return status


def _no_kernel(status: int, home: Path) -> KernelError:
    """Why the last one ended by itself: what it has said of that, where it has."""
    said = _last_words(home) if status == boot.EXIT_MISCONFIGURED else ""
    if said:
        return Misconfigured(said.partition(": ")[2])
    return NotReady(f"the kernel ended with status {status}; see {home / 'log' / 'kernel.log'}")


def _last_words(home: Path) -> str:
    """The newest error that a kernel has written into its log; empty: there is none."""
    path = home / "log" / "kernel.log"
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_END_BYTES))
        for line in reversed(file.read().decode(errors="replace").splitlines()):
            _, is_error, said = line.partition(" ERROR orlop.boot: ")
            if is_error:
                return said
    return ""


def _supervise(
    home: Path,
    handle: int,
    listeners: Listeners,
    settings: Settings,
    config: Path | None,
    engines: Sequence[str],
) -> int:
    """Until the system ends; its exit status.  handle: the home's lock."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    info = HomeInfo(
        url=listeners.url,
        socket=listeners.path,
        home=str(home),
        supervisor_pid=os.getpid(),
        version=orlop.__version__,
        airgap=settings.egress.airgap,
    )
    write_atomic(home / "info.json", msgspec.json.encode(info), 0o600)
    try:
        return Supervisor(home, listeners, config, engines, handle).run()
    finally:
        (home / "info.json").unlink(missing_ok=True)
        Path(listeners.path).unlink(missing_ok=True)
        os.close(handle)


def _supervise_unseen(
    home: Path,
    handle: int,
    listeners: Listeners,
    settings: Settings,
    config: Path | None,
    engines: Sequence[str],
) -> NoReturn:
    """The same in a process that nobody's terminal ends."""
    status = 1
    try:
        os.setsid()
        speak_to(home / "log" / "supervisor.log")
        status = _supervise(home, handle, listeners, settings, config, engines)
    except BaseException:
        log.exception("the supervisor has ended in a bug")
    finally:
        os._exit(status)


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


def _await_journal(home: Path, token: str, patience_s: float, say: Callable[[str], None]) -> None:
    """Say that it is up, once its calls are answered.  Raises what they are refused with."""
    kernel = Operator(Link(find(home=home), CLIENT_PATIENCE_S))
    give_up_s = plain_clock.now_s() + patience_s
    is_told = False
    while True:
        try:
            info = kernel.info()
        except JournalAway as away:
            if not is_told:
                say(f"orlop {orlop.__version__} is starting (home {home})")
                _say_token(token, say)
                say(f"  waits   at most {patience_s:g} s for the journal: {away.message}")
            is_told = True
            if plain_clock.now_s() >= give_up_s:
                raise JournalAway(
                    f"the kernel runs and has had no journal for {patience_s:g} s: {away.message}"
                    "; it goes on looking, and `orlop down` ends it"
                ) from away
            plain_clock.pause(AWAY_GLANCE_S)
        else:
            say(f"orlop {orlop.__version__} is up at {info.url} (home {home})")
            if not is_told:
                _say_token(token, say)
            return


def _await_kernel(supervisor: int, path: str, home: Path) -> None:
    """Until the kernel behind the socket answers.  Raises `NotReady`, `Misconfigured`."""
    give_up_s = plain_clock.now_s() + STOP_S
    while plain_clock.now_s() < give_up_s:
        ended, status = os.waitpid(supervisor, os.WNOHANG)
        if ended:
            raise _no_kernel(os.waitstatus_to_exitcode(status), home)
        if answers(path):
            return
        plain_clock.pause(GLANCE_S)
    raise NotReady(f"no answer within {STOP_S:g} s; see {home / 'log'}")
