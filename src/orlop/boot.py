"""Power on.  The one file that knows every floor; read it as the table of contents."""

import argparse
import asyncio
import gc
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

import orlop
from orlop.abi.errors import BadCall, JournalDamaged, JournalStopped, KernelError, Misconfigured
from orlop.abi.events import Halted
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ModelName
from orlop.access.capability import Capabilities
from orlop.access.principal import OPERATOR_PREFIX, Tokens
from orlop.cluster.cluster import Cluster, cluster
from orlop.cluster.commons import Commons
from orlop.context.conversation import Namer
from orlop.devices.device import Engine
from orlop.devices.shim import Program, Shims
from orlop.drivers import engines as drivers
from orlop.drivers.engines import Workshop
from orlop.effects import connectors
from orlop.effects.command import SubprocessTool
from orlop.effects.lifeline import Lifeline
from orlop.effects.mcp import McpServer
from orlop.effects.monty import MontyTool
from orlop.effects.openapi import OpenApiSource
from orlop.effects.postman import Postman
from orlop.effects.python import gather_described
from orlop.files import live
from orlop.files.live import FileStore
from orlop.hardware.memory import ram_bytes
from orlop.hardware.sight import Sight
from orlop.hardware.table import DeviceTable
from orlop.http.app import App
from orlop.http.auth import Doorman
from orlop.http.gate import Gate
from orlop.http.place import Place
from orlop.http.server import serve
from orlop.kernel import lease, memory_jobs, printed, recovery, retention
from orlop.kernel.lease import Lease
from orlop.kernel.schedule import Schedules
from orlop.kernel.shutdown import shut_down
from orlop.machine import faults, redaction
from orlop.machine.chance import Chance, SystemChance
from orlop.machine.clock import Clock, SystemClock
from orlop.machine.environment import program_environment
from orlop.machine.offload import ThreadOffload
from orlop.machine.tasks import TaskOwner
from orlop.memory import memories as memory
from orlop.memory.memories import Memories
from orlop.models.registry import Registry
from orlop.models.residency import Terms
from orlop.models.residents import CPU, Residents
from orlop.people.house import Desk
from orlop.programs import shim, warden
from orlop.sandbox.airgap import AirGap
from orlop.sandbox.cell import Doors
from orlop.sandbox.cells import Cells
from orlop.sched.scheduler import Scheduler
from orlop.settings import ModelsConfig, Settings, airgap_hosts, models_dir, read_settings
from orlop.state.core import Kernel
from orlop.state.guard import Guard
from orlop.store import tapes
from orlop.store.home import Home
from orlop.store.journal import Journal
from orlop.store.secrets import read_secret, secret_file
from orlop.store.signing_keys import SigningKeys
from orlop.subsystems import claims, devices, engines, file_index, manifests, offers, residence
from orlop.tools.catalog import Catalog
from orlop.tools.systems import Systems
from orlop.wire import webhook

log = logging.getLogger(__name__)

EXIT_MISCONFIGURED: Final = 78
"""As `EX_CONFIG` of sysexits.h: starting again would not help."""

EXIT_AGAIN: Final = 75
"""As `EX_TEMPFAIL`: the journal's server is away; the next kernel may find it."""

AWAY_S: Final = 2.0
"""How long a kernel refuses calls before the next one looks for the journal's server."""

SWITCH_INTERVAL_S: Final = 0.0005
"""How long the loop may keep the interpreter from the journal's thread; CPython's own is 5 ms."""

GARBAGE_OBJECTS: Final = 20_000
"""New objects between two looks for cycles: calls make few, and modules (frozen) make none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What the supervisor hands to a kernel."""

    home: Path
    settings: Settings
    url: str
    socket_path: str
    lifeline: int
    supervisor_pid: int | None
    listeners: Sequence[socket.socket]


def workshop(power: Power, clock: Clock, chance: Chance) -> Workshop:
    return Workshop(
        clock=clock,
        chance=chance,
        models_dir=models_dir(power.settings),
        folder=power.home / "engines",
        lifeline=power.lifeline,
    )


async def build(power: Power, tokens: Tokens, gate: Gate) -> Kernel:
    """Every table, in order."""
    settings, home = power.settings, Home(power.home)
    clock, chance = SystemClock(), SystemChance()  # time and chance
    shared = cluster(home, settings.journal, clock, chance)
    journal = journal_of(home, settings, clock, chance, shared)  # what has happened
    await journal.open(orlop.__version__, platform.node(), os.getpid())
    tables, snapshot_seq = await recovery.read_tables(journal)
    lifeline = Lifeline(home.path / "tools", Path(warden.__file__), clock)

    def environment(program: Program) -> Mapping[str, str]:
        token = tokens.process(tables.rows[program.id], clock.wall_ns())
        return program_environment(
            program.env, power.url, power.socket_path, token, program.id, program.incarnation
        )

    doors = Doors(home=power.home, url=power.url, socket=power.socket_path, gate=gate.folder)
    cells = Cells(doors, settings.sandbox, ThreadOffload("sandbox"), airgap=settings.egress.airgap)
    commons = shared.commons(journal) if shared is not None else None
    files, memories = kept(home.path / "index", settings, journal, commons)
    of_all = (files.projection, memories.projection)
    return Kernel(
        clock=clock,
        chance=chance,
        journal=journal,
        registry=registry_of(settings, workshop(power, clock, chance)),  # what may serve
        scheduler=Scheduler(settings.scheduler),  # who runs next
        systems=Systems(settings.systems),  # what those outside bear
        tools=await tools(settings, lifeline, cells, gate),
        servers=servers(settings, lifeline, cells, gate),
        residents=residents(settings.models),  # which models lie where
        launcher=Shims(
            power.home / "run",
            Path(shim.__file__),
            power.lifeline,
            clock,
            environment,
            cells.program,
        ),
        cells=cells,
        web=gate.web,  # what is outside
        egress=gate.rules,
        config=settings.kernel,
        prices=settings.models.prices,  # what it costs
        cards=settings.models.cards,  # one model, many artefacts
        ladders=settings.models.ladders,  # what is tried when time is short
        devices=DeviceTable(config=settings.devices),  # what computes, and who has it
        files=files,  # versions of files, of which the journal is the truth
        memories=memories,  # what agents remember, likewise
        projections=of_all if commons is None else (memories.evidence,),
        commons=commons,  # and what other kernels have written of both
        guard=Guard(settings.policy, offload=ThreadOffload("policy")),  # what may be done
        desk=desk(power),  # who is asked
        tables=tables,  # who exists
        namer=Namer(journal.name_of),
        tasks=TaskOwner("kernel"),
        snapshot_seq=snapshot_seq,
    )


def kept(
    index: Path, settings: Settings, journal: Journal, commons: Commons | None
) -> tuple[FileStore, Memories]:
    """What is too large for the tables: a projection of the journal, or of all kernels'."""
    files = live.build(journal, SystemClock(), index, settings.files, commons)
    memories = memory.build(journal, SystemClock(), index, settings.memory, commons)
    if commons is not None:
        commons.followers = (files.projection, memories.projection)
    return files, memories


def journal_of(
    home: Home, settings: Settings, clock: Clock, chance: Chance, shared: Cluster | None
) -> Journal:
    tape = tapes.tape(home, settings.journal) if shared is None else shared.tape()
    keyring = home.keyring(chance, has_journal=tape.look() is not None)
    return Journal(
        tape,
        keyring if shared is None else shared.keyring(keyring),
        clock,
        chance,
        ThreadOffload("journal"),
        ThreadOffload("journal-reading"),
    )


def registry_of(settings: Settings, shop: Workshop) -> Registry:
    """Engines that are named, those of pulled models, and their other names."""
    configured = [drivers.build(name, entry, shop) for name, entry in settings.engines.items()]
    aliases = {alias: ModelName(name) for alias, name in settings.models.aliases.items()}
    return Registry([*configured, *drivers.found(shop, settings.engines)], aliases)


def servers(
    settings: Settings, lifeline: Lifeline, cells: Cells, gate: Gate
) -> tuple[McpServer, ...]:
    return tuple(
        McpServer(
            name,
            config,
            lifeline=lifeline,
            clock=SystemClock(),
            seal=gate.sealer(cells, f"mcp {name}", config.sandbox),
        )
        for name, config in settings.mcp.items()
    )


def desk(power: Power) -> Desk:
    """Where people are asked.  Raises `Misconfigured`."""
    settings = power.settings
    config, path = settings.people, power.home / "keys" / "webhook.secret"
    secret = b""
    if config.webhook_url or config.webhook_answers:
        own = config.webhook_secret
        text = read_secret(Path(own)) if own else secret_file(path, webhook.PREFIX)
        try:
            secret = webhook.secret(text)
        except ValueError as error:
            raise Misconfigured(f"{own or path}: {error}") from error
    return Desk(
        config=config,
        chains=settings.escalations,
        rules=settings.autonomy,
        secret=secret,
        post=Postman().post,
        url=power.url,
    )


async def tools(settings: Settings, lifeline: Lifeline, cells: Cells, gate: Gate) -> Catalog:
    """Raises `Misconfigured`."""
    entries = await gather_described(settings.tools)
    built = [
        SubprocessTool(
            entry.card(name), lifeline, gate.sealer(cells, f"tool {name}", entry.sandbox)
        )
        for name, entry in entries.items()
    ]
    ready = connectors.build(
        settings.sql, settings.mail, settings.webhooks, settings.folders, SystemClock()
    )
    try:
        code = [MontyTool(settings.code)] if settings.code.enabled else []
        return Catalog([*built, *ready, *code])
    except BadCall as error:
        raise Misconfigured(f"orlop.toml, [tools]: {error.message}") from error


def residents(config: ModelsConfig) -> Residents:
    return Residents(
        terms=Terms(patience_s=config.patience_s, memory_price=config.memory_price),
        budgets={CPU: config.ram_bytes or int(ram_bytes() * config.ram_share)},
        pinned=frozenset(config.pinned),
    )


def read_tokens(power: Power) -> Tokens:
    """What tokens are signed with, and the operator's own.  Raises `Misconfigured`."""
    folder = power.home / "keys"
    keys = SigningKeys.open(folder / "tokens.json", SystemChance(), SystemClock().wall_ns())
    operator = redaction.hide(secret_file(folder / "operator.token", OPERATOR_PREFIX))
    return Tokens(Capabilities(keys, power.settings.tokens), operator)


def gate_of(power: Power) -> Gate:
    """The way out of sandboxes."""
    return Gate(power.home, power.settings.egress, SystemClock(), SystemChance())


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
    )
    app = App(place, power.settings.http, tokens)
    try:
        gate = gate_of(power)
        kernel = await build(power, tokens, gate)
        place_among = await joined(kernel, power, tokens)
    except JournalStopped as reason:
        return await refused(power, app, stop, reason)
    await recovery.recover(kernel)
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
    for server in kernel.servers:
        known = partial(manifests.learn, kernel)
        kernel.tasks.start(server.run(known, kernel.tasks), f"mcp {server.name}")
    for name, document in power.settings.openapi.items():
        source = OpenApiSource(name, document, kernel.clock)
        kernel.tasks.start(source.run(partial(manifests.learn, kernel)), f"openapi {name}")
    residence.begin(kernel, kernel.registry.engines.values())
    kernel.tasks.start(residence.run(kernel), "residence")
    return schedules


async def end(kernel: Kernel, power: Power, place_among: Lease | None) -> int:
    """Power off, in order; the exit status."""
    await shut_down(kernel)
    for projection in kernel.all_projections:
        await projection.close()
    if kernel.commons is not None:
        await kernel.commons.close()
    if kernel.journal.stopped is None:
        kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, Halted(reason="stopped by its supervisor"))
    is_lost = bool(power.settings.journal.url) and kernel.journal.stopped is not None
    await kernel.journal.close()
    if not is_lost:  # Else the lease runs out by itself, should no next kernel come.
        await lease.left(place_among)
    return EXIT_AGAIN if is_lost else 0


async def refused(power: Power, app: App, stop: asyncio.Event, reason: JournalStopped) -> int:
    """The journal is damaged, on a full disk, away, or another kernel's: everybody is told."""
    log.error("no call can be answered: %s: %s", reason.code, reason.message)
    app.refuse(reason)
    is_away = bool(power.settings.journal.url) and not isinstance(reason, JournalDamaged)
    if is_away:
        asyncio.get_running_loop().call_later(AWAY_S, stop.set)
    await serve(app, power.listeners, stop, power.settings.http)
    return EXIT_AGAIN if is_away else 0


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
        is_away = type(error) is JournalStopped and bool(power.settings.journal.url)
        return EXIT_AGAIN if is_away else EXIT_MISCONFIGURED


if __name__ == "__main__":
    sys.exit(main())
