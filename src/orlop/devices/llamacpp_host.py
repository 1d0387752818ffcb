"""An engine host: llama.cpp's server in a process of its own, so that the kernel may come and go.

It listens on a loopback port with a random key, and tells both in its state file.  It ends when
its lifeline does (the supervisor is gone), or on SIGTERM; the kernel's end is nothing to it.
Prompts go in pieces, so that other slots' tokens come between and a cancelled prompt stops soon.
"""

import argparse
import os
import select
import shutil
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, Protocol

import psutil

from orlop.abi.errors import DeviceFailed
from orlop.devices import engine_host
from orlop.devices.artefact import verified
from orlop.devices.engine_host import MEMORY, HostSettings, HostState
from orlop.machine.chance import SystemChance

PIECE_TOKENS: Final = 128
"""A prompt's piece: 256 and 512 tokens are no faster on a CPU, and slower to stop."""

_CACHE_MIB_MAX: Final = 8_192
_CACHE_SHARE: Final = 8
"""Prompts that left their slot stay in RAM, in at most this part of it."""

_ERRORS_ONLY: Final = 1


class _Options(argparse.Namespace):
    model: Path
    name: str
    slots: int
    context: int
    state: Path
    embedding: bool
    slot_folder: str
    no_cache: bool
    sha256: str
    lifeline: int | None
    detach: bool

    def settings(self) -> HostSettings:
        return HostSettings(
            name=self.name,
            model=str(self.model),
            slots=self.slots,
            context_tokens=self.context,
            embedding=self.embedding,
            slot_folder=self.slot_folder,
            cache=not self.no_cache,
            sha256=self.sha256,
        )


class _Asked(BaseException):
    """SIGTERM: somebody asks us to end."""


class _Server(Protocol):
    @property
    def listening_address(self) -> str: ...


def main(arguments: Sequence[str]) -> int:
    """With `--detach` the host is nobody's child: its starter enters it in the state file, ends."""
    options = _read(arguments)
    if options.detach and (pid := os.fork()):
        begun = engine_host.started_s(pid)
        state = HostState(pid=pid, started_s=begun, settings=options.settings())
        engine_host.write(options.state, state)
        return 0
    try:
        _serve(options)
    except _Asked:
        return 0
    except DeviceFailed as error:
        # Before the state file goes: who sees it gone reads these words.
        sys.stderr.write(f"{error.message}\n")
        return 1
    finally:
        _withdraw(options.state)


def _read(arguments: Sequence[str]) -> _Options:
    parser = argparse.ArgumentParser(prog="python -m orlop.devices.llamacpp_host")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--name", required=True, help="what callers call the model")
    parser.add_argument("--slots", type=int, default=4, help="calls served at once")
    parser.add_argument("--context", type=int, default=4096, help="tokens a slot can hold")
    parser.add_argument("--state", type=Path, required=True, help="where to tell url and key")
    parser.add_argument("--embedding", action="store_true", help="the model makes vectors")
    parser.add_argument("--slot-folder", default="", help="where slots are saved")
    parser.add_argument("--no-cache", action="store_true", help="keep no prompts in RAM")
    parser.add_argument("--sha256", default="", help="what the file must have")
    parser.add_argument("--lifeline", type=int, help="end when this pipe ends")
    parser.add_argument("--detach", action="store_true", help="run on in the background")
    return parser.parse_args(arguments, namespace=_Options())


def _serve(options: _Options) -> NoReturn:
    signal.signal(signal.SIGTERM, _leave)
    key = SystemChance().token(32).hex()
    # The server runs in threads of its own, for as long as the object lives.
    server, sha256 = _load_verified(options, key)
    state = HostState(
        pid=os.getpid(),
        started_s=engine_host.started_s(os.getpid()),
        settings=options.settings(),
        url=server.listening_address,
        key=key,
        sha256=sha256,
    )
    with suppress(_Asked):
        engine_host.write(options.state, state)
        _wait(options.lifeline)
    _free_memory(options)
    _withdraw(options.state)
    # Not a return: the server's threads would first finish answers that nobody waits for.
    os._exit(0)


def _load_verified(options: _Options, key: str) -> tuple[_Server, str]:
    """With the weights' digest, which another thread computes while llama.cpp reads them."""
    with ThreadPoolExecutor(max_workers=1) as readers:
        digest = readers.submit(verified, options.model, options.sha256)
        try:
            server = _load(options, key)
        except DeviceFailed:
            digest.result()  # Of what is damaged that is said first.
            raise
        return server, digest.result()


def _load(options: _Options, key: str) -> _Server:
    """Returns when the model is loaded and the port is open."""
    # Read by OpenMP when it is loaded.  Threads that spin while they wait for each other take the
    # cores from the one they wait for: on a busy machine that makes a call many times slower.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        import xllamacpp
    except ImportError as error:
        raise DeviceFailed(f"{error}: install it with `pip install 'orlop[local]'`") from error
    params = xllamacpp.CommonParams()
    for name, value in _settings(options, key).items():
        setattr(params, name, value)
    params.model.path = str(options.model)
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = psutil.cpu_count(logical=False) or 1
    try:
        server: _Server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise DeviceFailed(f"llama.cpp can't load {options.model}: {error}") from error
    return server


def _settings(options: _Options, key: str) -> dict[str, object]:
    """Of llama.cpp's `common_params`, those that are not as they come."""
    # An embedding model sees a text as a whole.
    piece_tokens = options.context if options.embedding else PIECE_TOKENS
    return {
        "model_alias": {options.name},
        "hostnames": ["127.0.0.1"],
        "port": 0,
        "api_keys": [key],
        "embedding": options.embedding,
        "n_parallel": options.slots,
        "n_ctx": options.context * options.slots,
        "n_batch": piece_tokens,
        "n_ubatch": piece_tokens,
        "cont_batching": True,
        "use_jinja": True,
        "cache_ram_mib": 0 if options.no_cache else _cache_mib(),
        "slot_save_path": f"{_slot_folder(options)}/",
        "endpoint_metrics": True,
        "ui": False,
        "warmup": False,
        "verbosity": _ERRORS_ONLY,
        # A silent stream says every second that it lives, and so finds out that its reader left.
        "sse_ping_interval": 1,
    }


def _cache_mib() -> int:
    return int(min(_CACHE_MIB_MAX, psutil.virtual_memory().total // _CACHE_SHARE // 1024**2))


def _slot_folder(options: _Options) -> Path:
    own = Path(options.slot_folder) if options.slot_folder else options.state.with_suffix(".slots")
    folder = own.resolve()
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _free_memory(options: _Options) -> None:
    """Saved slots that lie in RAM go with a host that ends in order; those on disk stay."""
    if options.slot_folder and Path(options.slot_folder).is_relative_to(MEMORY):
        shutil.rmtree(options.slot_folder, ignore_errors=True)


def _wait(lifeline: int | None) -> None:
    """Until the supervisor is gone; without a lifeline, until a signal."""
    if lifeline is None:
        signal.pause()
        return
    while True:
        # The kernel's event loop has made the shared pipe non-blocking: wait before reading.
        select.select([lifeline], [], [])
        if not os.read(lifeline, 1):
            return


def _leave(signum: int, frame: FrameType | None) -> None:
    raise _Asked


def _withdraw(path: Path) -> None:
    """Remove the state file, unless it is another host's by now."""
    state = engine_host.read(path)
    if state is not None and state.pid == os.getpid():
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
