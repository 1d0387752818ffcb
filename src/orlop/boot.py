"""Power on, and off: a kernel's whole life.  What it is made of is in `assembly.py`."""

import argparse
import asyncio
import gc
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from orlop.abi.errors import JournalAway, JournalDamaged, JournalStopped, KernelError
from orlop.abi.events import Halted
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS
from orlop.access.principal import Tokens
from orlop.assembly import Power, build, gate_of, read_tokens, workshop
from orlop.cluster.cluster import cluster
from orlop.devices.device import Engine
from orlop.drivers import engines as drivers
from orlop.hardware.sight import Sight
from orlop.http.app import App
from orlop.http.auth import Doorman
from orlop.http.gate import Gate
from orlop.http.place import Place
from orlop.http.server import serve
from orlop.kernel import hearing, lease, memory_jobs, printed, recovery, retention
from orlop.kernel.lease import Lease
from orlop.kernel.schedule import Schedules
from orlop.kernel.shutdown import shut_down
from orlop.machine import faults, redaction
from orlop.machine.clock import SystemClock
from orlop.machine.offload import ThreadOffload
from orlop.sandbox.airgap import AirGap
from orlop.settings import Settings, airgap_hosts, models_dir, read_settings
from orlop.state.core import Kernel
from orlop.store import tapes
from orlop.store.home import Home
from orlop.subsystems import claims, devices, engines, file_index, manifests, offers, residence

log = logging.getLogger(__name__)

EXIT_MISCONFIGURED: Final = 78
"""As `EX_CONFIG` of sysexits.h: starting again would not help."""

EXIT_AGAIN: Final = 75
"""As `EX_TEMPFAIL`: the journal's server is away; the next kernel may find it."""

AWAY_S: Final = 2.0
"""Between two looks for a journal's server that is away, while calls are refused."""

SWITCH_INTERVAL_S: Final = 0.0005
"""How long the loop may keep the interpreter from the journal's thread; CPython's own is 5 ms."""

GARBAGE_OBJECTS: Final = 20_000
"""New objects between two looks for cycles: calls make few, and modules (frozen) make none."""


def told_to_stop(lifeline: int) -> asyncio.Event:
    """Set by a signal, or when the supervisor is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def supervisor_lost() -> None:
        loop.remove_reader(lifeline)  # It stays readable, and the loop would go round and round.
        stop.set()

    loop.add_reader(lifeline, supervisor_lost)
    return stop


async def run(power: Power) -> int:
    """From power on to power off; the exit status."""
    stop = told_to_stop(power.lifeline)
    tokens = read_tokens(power)
    place = Place(
        home=power.home,
        url=power.url,
        socket_path=power.socket_path,
        os_pid=os.getpid(),
        supervisor_pid=power.supervisor_pid,
        journal=tapes.named(Home(power.home), power.settings.journal),
    )
    app = App(place, power.settings.http, tokens)
    try:
        gate = gate_of(power)
        kernel = await build(power, tokens, gate)
        place_among = await joined(kernel, power, tokens)
    except JournalStopped as reason:
        return await refused(power, app, stop, reason)
    await recovery.recover(kernel)
    hearing.begin(kernel)
    lease.begin(place_among)
    schedules = begin(kernel, power, tokens, gate)

    def look_again() -> None:
        shop = workshop(power, kernel.clock, kernel.chance)
        found = drivers.found(shop, power.settings.engines)
        new = [engine for engine in found if engine.name not in kernel.registry.engines]
        for engine in new:
            kernel.registry.add(engine)
            keep(kernel, engine, power.settings)
        residence.begin(kernel, new)

    if power.settings.journal.url:
        kernel.tasks.start(until_stopped(kernel, stop), "journal's server")
    app.open(kernel, schedules, look_again, power.settings.webhooks)
    kernel.tasks.start(let_go(kernel, stop), "functions")
    log.info("the kernel is up at %s, epoch %d", power.url, kernel.journal.epoch)
    await serve(app, power.listeners, stop, power.settings.http)
    return await end(kernel, power, place_among)


def begin(kernel: Kernel, power: Power, tokens: Tokens, gate: Gate) -> Schedules:
    """Start what runs for as long as the kernel does."""
    kernel.tasks.start(retention.run(kernel, power.settings.journal.keep_days), "retention")
    kernel.tasks.start(printed.run(kernel, power.home, power.settings.output), "output")
    claims.recover(kernel)
    sight = Sight(models_dir(power.settings))
    devices.begin(kernel, sight, ThreadOffload("devices"))
    follow(kernel)
    kernel.tasks.start(memory_jobs.run(kernel, ThreadOffload("memory-graphs")), "memory")
    kernel.tasks.start(gate.run(kernel, Doorman(kernel, tokens)), "proxy")
    schedules = Schedules(kernel)
    kernel.tasks.start(schedules.run(), "schedules")
    for engine in kernel.registry.engines.values():
        keep(kernel, engine, power.settings)
    for source in kernel.tools.sources:
        looking = source.run(partial(manifests.learn, kernel), kernel.tasks)
        kernel.tasks.start(looking, f"{source.kind} {source.name}")
    residence.begin(kernel, kernel.registry.engines.values())
    kernel.tasks.start(residence.run(kernel), "residence")
    return schedules


async def end(kernel: Kernel, power: Power, place_among: Lease | None) -> int:
    """Power off, in order; the exit status."""
    is_lost = bool(power.settings.journal.url) and kernel.journal.stopped is not None
    # Nobody takes over what a kernel by itself has started: its programs wait for the next one.
    await shut_down(kernel, leaves_programs=is_lost and place_among is None)
    for projection in kernel.all_projections:
        await projection.close()
    if kernel.commons is not None:
        await kernel.commons.close()
    if kernel.journal.stopped is None:
        kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, Halted(reason="stopped by its supervisor"))
    await kernel.journal.close()
    if not is_lost:  # Else the lease runs out by itself, should no next kernel come.
        await lease.left(place_among)
    return EXIT_AGAIN if is_lost else 0


async def refused(power: Power, app: App, stop: asyncio.Event, reason: JournalStopped) -> int:
    """The journal is damaged, on a full disk, away, or another kernel's: everybody is told."""
    is_away = bool(power.settings.journal.url) and not isinstance(reason, JournalDamaged)
    told = away(reason) if is_away else reason
    log.error("no call can be answered: %s: %s", told.code, told.message)
    app.refuse(told)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(until_back(power, app, stop)) if is_away else None
        await serve(app, power.listeners, stop, power.settings.http)
        if looking is not None:
            looking.cancel()
    return EXIT_AGAIN if is_away else 0


def away(reason: JournalStopped) -> JournalAway:
    return JournalAway(" ".join(reason.message.split()), retry_after_s=AWAY_S)


async def until_back(power: Power, app: App, stop: asyncio.Event) -> None:
    """Look for the journal's server, and end this kernel once it answers: the next one opens the
    journal.  Callers are told all the while, also where a look takes long."""
    clock, offload = SystemClock(), ThreadOffload("journal's server")
    while not stop.is_set():
        await clock.sleep(AWAY_S)
        try:
            await offload(tapes.look, Home(power.home), power.settings.journal)
        except JournalDamaged:
            stop.set()  # Whoever opens it says more.
        except JournalStopped as reason:
            app.refuse(away(reason))
        else:
            stop.set()


async def joined(kernel: Kernel, power: Power, tokens: Tokens) -> Lease | None:
    """Its place among the kernels that share a database; None: it shares none."""
    config = power.settings.journal
    shared = cluster(Home(power.home), config, kernel.clock, kernel.chance)
    if shared is None:
        return None
    keys = tokens.capabilities.keys
    place = await lease.joined(kernel, shared, power.url, platform.node(), config.schema, keys)
    if kernel.commons is not None:
        kernel.commons.told = kernel.hear
        await kernel.commons.join(kernel.tables.place)
    return place


async def let_go(kernel: Kernel, stop: asyncio.Event) -> None:
    """Programs that offer functions listen for ever: at power off they are let go."""
    await stop.wait()
    offers.disconnect(kernel)


def follow(kernel: Kernel) -> None:
    """Let what is made of the journal keep up with it."""
    if kernel.commons is not None:
        kernel.tasks.start(kernel.commons.run(), "commons")
    for projection in kernel.all_projections:
        kernel.tasks.start(projection.run(), "projection")
    if kernel.files is not None:
        kernel.tasks.start(file_index.run(kernel, kernel.files), "index of files")


async def until_stopped(kernel: Kernel, stop: asyncio.Event) -> None:
    """A journal whose server has gone is opened again by the next kernel, once the server is back:
    only an opening can tell what became of the last commit."""
    while kernel.journal.stopped is None:
        await kernel.clock.sleep(1.0)
    stop.set()


def keep(kernel: Kernel, engine: Engine, settings: Settings) -> None:
    """Start the task that keeps `engine` usable."""
    residence.attend(kernel, engine)
    config = settings.engines.get(engine.name)
    devices.stand(kernel, engine, config.device if config is not None else "")
    paid = config is not None and config.is_paid
    kernel.tasks.start(engines.keep(kernel, engine, paid=paid), f"engine {engine.name}")


def tune() -> None:
    """The interpreter as a server needs it: see `SWITCH_INTERVAL_S` and `GARBAGE_OBJECTS`."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 20, 50)


def main(arguments: Sequence[str] | None = None) -> int:
    """The kernel's process, as its supervisor starts it."""
    parser = argparse.ArgumentParser(prog="orlop-kernel")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--engine", action="append", default=[])
    parser.add_argument("--url", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--listener", type=int, action="append", default=[])
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--supervisor", type=int)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    redaction.keep_out_of_logs("%(asctime)s %(levelname)s %(name)s: %(message)s")
    tune()
    faults.install_from(os.environ.get("ORLOP_FAULT", ""))
    try:
        power = Power(
            home=given.home,
            settings=read_settings(given.config, given.home, given.engine),
            url=given.url,
            socket_path=given.socket,
            lifeline=given.lifeline,
            supervisor_pid=given.supervisor,
            listeners=[socket.socket(fileno=number) for number in given.listener],
        )
        if power.settings.egress.airgap:
            AirGap(airgap_hosts(power.settings)).install()
            return asyncio.run(run(power))
        return uvloop.run(run(power))
    except KernelError as error:
        log.error("%s: %s", error.code, error.message)
        # The journal's server went while the kernel came up: the next one looks for it again.
        is_away = isinstance(error, JournalStopped) and not isinstance(error, JournalDamaged)
        is_away = is_away and bool(power.settings.journal.url)
        return EXIT_AGAIN if is_away else EXIT_MISCONFIGURED


if __name__ == "__main__":
    sys.exit(main())
