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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

import orlop
from orlop.abi.errors import BadCall, JournalDamaged, JournalStopped, KernelError, Misconfigured
from orlop.abi.events import Halted
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ModelName
from orlop.abi.sandbox import Sandbox
from orlop.access.capability import Capabilities, TokenConfig
from orlop.access.principal import OPERATOR_PREFIX, Tokens
from orlop.context.conversation import Namer
from orlop.devices import shelf
from orlop.devices.device import Engine
from orlop.devices.shim import Program, Shims
from orlop.drivers import engines as drivers
from orlop.drivers.engines import EngineConfig, Workshop
from orlop.effects import connectors, mcp, openapi
from orlop.effects.command import SubprocessTool, ToolConfig
from orlop.effects.lifeline import Lifeline
from orlop.effects.mail import MailConfig
from orlop.effects.mcp import McpConfig, McpServer
from orlop.effects.monty import CodeConfig, MontyTool
from orlop.effects.openapi import OpenApiConfig, OpenApiSource
from orlop.effects.postman import Postman
from orlop.effects.python import gather_described
from orlop.effects.sql import SqlConfig
from orlop.effects.webhooks import WebhookConfig
from orlop.files import live
from orlop.files.live import FileConfig
from orlop.hardware import configured as configured_devices
from orlop.hardware.configured import DeviceConfig
from orlop.hardware.memory import ram_bytes
from orlop.hardware.sight import Sight
from orlop.hardware.table import DeviceTable
from orlop.http.app import App
from orlop.http.auth import Doorman
from orlop.http.gate import EgressConfig, Gate
from orlop.http.place import HttpConfig, Place
from orlop.http.server import serve
from orlop.kernel import lease, memory_jobs, recovery, retention
from orlop.kernel.lease import Lease
from orlop.kernel.schedule import Schedules
from orlop.kernel.shutdown import shut_down
from orlop.machine import faults, redaction
from orlop.machine.chance import Chance, SystemChance
from orlop.machine.clock import Clock, SystemClock
from orlop.machine.environment import program_environment
from orlop.machine.offload import ThreadOffload
from orlop.machine.ranges import Chances, Count, Seconds
from orlop.machine.settings import default_models_dir, load
from orlop.machine.tasks import TaskOwner
from orlop.memory import memories as memory
from orlop.memory.memories import MemoryConfig
from orlop.meter.usage import PriceConfig
from orlop.models import forms, ladder
from orlop.models.forms import CardConfig
from orlop.models.ladder import LadderConfig
from orlop.models.registry import Registry
from orlop.models.residency import Terms
from orlop.models.residents import CPU, Residents
from orlop.people import chains, rules
from orlop.people.chains import ChainConfig
from orlop.people.house import Desk, PeopleConfig
from orlop.people.rules import AutonomyConfig
from orlop.programs import shim, warden
from orlop.sandbox.airgap import AirGap, listed
from orlop.sandbox.cell import Doors
from orlop.sandbox.cells import NO_NETWORK, Cells, SandboxConfig, check_config
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.state.core import Kernel, KernelConfig
from orlop.state.guard import Guard, PolicyConfig
from orlop.store import tapes
from orlop.store.cluster import cluster
from orlop.store.home import Home
from orlop.store.journal import Journal
from orlop.store.secrets import read_secret, secret_file
from orlop.store.signing_keys import SigningKeys
from orlop.store.tapes import JournalConfig
from orlop.subsystems import (
    claims,
    devices,
    engines,
    file_index,
    manifests,
    offers,
    policies,
    residence,
)
from orlop.tools.catalog import Catalog
from orlop.tools.systems import SystemConfig, Systems
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
class ModelsConfig:
    """The `[models]` table of orlop.toml."""

    dir: str = ""
    """Where pulled models lie; by default `~/.local/share/orlop/models`, shared by all homes."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names for models, as in `gpt-4o-mini = "smollm2"`."""
    prices: dict[str, PriceConfig] = field(default_factory=dict)
    """What models cost, each in a table of its own."""
    pinned: tuple[str, ...] = ()
    """Models that stay loaded, whoever else wants their memory."""
    ram_bytes: Count = 0
    """RAM that embedded models may take together; 0: `ram_share` of what there is."""
    ram_share: Chances = 0.75
    """The part of the machine's (or its container's) RAM that embedded models may take."""
    patience_s: Seconds = 2.0
    """Each second of a cold start beyond this counts twice when models compete for memory."""
    memory_price: Seconds = 0.0005
    """Seconds of waiting that a GiB held for a second is worth: how long idle models stay; 0: for
    ever.  (A model of 1 GiB that loads in 4 s leaves after 3 h.)"""
    cards: dict[str, CardConfig] = field(default_factory=dict)
    """Models that come in several forms, each in a table of its own."""
    ladders: dict[str, LadderConfig] = field(default_factory=dict)
    """Names under which several models are tried, the best first, each in a table of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole of orlop.toml."""

    kernel: KernelConfig = field(default_factory=KernelConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    journal: JournalConfig = field(default_factory=JournalConfig)
    files: FileConfig = field(default_factory=FileConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    tokens: TokenConfig = field(default_factory=TokenConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    engines: dict[str, EngineConfig] = field(default_factory=dict)
    """Engines by name, each in a table of its own."""
    devices: dict[str, DeviceConfig] = field(default_factory=dict)
    """Devices by name, each in a table of its own."""
    tools: dict[str, ToolConfig] = field(default_factory=dict)
    """Tools by name, each in a table of its own."""
    sql: dict[str, SqlConfig] = field(default_factory=dict)
    """Databases by name, each in a table of its own."""
    mail: dict[str, MailConfig] = field(default_factory=dict)
    """SMTP servers by name, each in a table of its own."""
    webhooks: dict[str, WebhookConfig] = field(default_factory=dict)
    """Webhooks by name, each in a table of its own."""
    systems: dict[str, SystemConfig] = field(default_factory=dict)
    """External systems by name, each in a table of its own."""
    openapi: dict[str, OpenApiConfig] = field(default_factory=dict)
    """OpenAPI documents by name, each in a table of its own."""
    mcp: dict[str, McpConfig] = field(default_factory=dict)
    """MCP servers by name, each in a table of its own."""
    people: PeopleConfig = field(default_factory=PeopleConfig)
    escalations: dict[str, ChainConfig] = field(default_factory=dict)
    """Whom questions are taken to, each chain in a table of its own."""
    autonomy: dict[str, AutonomyConfig] = field(default_factory=dict)
    """How far agents may go by themselves, each rule in a table of its own."""
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    egress: EgressConfig = field(default_factory=EgressConfig)
    code: CodeConfig = field(default_factory=CodeConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)


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


def read_settings(config: Path | None, home: Path, engine_flags: Sequence[str]) -> Settings:
    """`--config`, else the home's orlop.toml, else the defaults; then `--engine NAME=URL`.

    Raises `Misconfigured`; nothing was started.
    """
    path = config or home / "orlop.toml"
    settings = load(path, Settings) if config is not None or path.exists() else Settings()
    for flag in engine_flags:
        name, found, url = flag.partition("=")
        if not found or not name or not url.startswith(("http://", "https://")):
            raise Misconfigured(f"--engine {flag}: write NAME=URL, as in vllm=http://host:8000")
        settings.engines[name] = EngineConfig(url=url)
    for name, entry in settings.engines.items():
        drivers.check(name, entry, models_dir(settings))
    for name, tool in settings.tools.items():
        tool.card(name)
    configured_devices.check(settings.devices)
    mcp.check(settings.mcp)
    openapi.check(settings.openapi)
    Systems(settings.systems)
    connectors.check(settings.sql, settings.mail, settings.webhooks)
    policies.check_config(settings.policy)
    chains.check(settings.escalations)
    rules.check(settings.autonomy)
    if os.environ.get("ORLOP_AIRGAP"):
        settings = replace(settings, egress=replace(settings.egress, airgap=True))
    check_config(settings.sandbox, sandboxes(settings), home)
    settings.egress.rules()
    memory.check(settings.memory)
    shelved = [model.name for model in shelf.installed(models_dir(settings))]
    forms.check(settings.models.cards, [*settings.engines, *shelved])
    ladder.check(settings.models.ladders, [*settings.models.aliases, *settings.models.cards])
    return settings


def sandboxes(settings: Settings) -> dict[str, Sandbox | None]:
    """What is asked for, by the table that asks."""
    tools = {f"tools.{name}": entry.sandbox for name, entry in settings.tools.items()}
    servers = {f"mcp.{name}": entry.sandbox for name, entry in settings.mcp.items()}
    airgap = {"egress": NO_NETWORK if settings.egress.airgap else None}
    return tools | servers | airgap


def airgap_hosts(settings: Settings) -> set[str]:
    """What an airgapped kernel may reach."""
    rules = [rule.host for rule in settings.egress.rules()]
    return {*listed(settings), *rules}


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
    tape = tapes.tape(home, settings.journal)
    shared = cluster(home, settings.journal, clock, chance)
    keyring = home.keyring(chance, has_journal=tape.look() is not None)
    journal = Journal(  # what has happened
        tape,
        keyring if shared is None else shared.keyring(keyring),
        clock,
        chance,
        ThreadOffload("journal"),
        ThreadOffload("journal-reading"),
    )
    await journal.open(orlop.__version__, platform.node(), os.getpid())
    tables, snapshot_seq = await recovery.read_tables(journal)
    shop = workshop(power, clock, chance)
    configured = [drivers.build(name, entry, shop) for name, entry in settings.engines.items()]
    aliases = {alias: ModelName(name) for alias, name in settings.models.aliases.items()}
    lifeline = Lifeline(home.path / "tools", Path(warden.__file__), clock)

    def environment(program: Program) -> Mapping[str, str]:
        token = tokens.process(tables.rows[program.id], clock.wall_ns())
        return program_environment(
            program.env, power.url, power.socket_path, token, program.id, program.incarnation
        )

    doors = Doors(home=power.home, url=power.url, socket=power.socket_path, gate=gate.folder)
    cells = Cells(doors, settings.sandbox, ThreadOffload("sandbox"), airgap=settings.egress.airgap)
    memories = memory.build(journal, clock, home.path / "index", settings.memory)
    files = live.build(journal, clock, home.path / "index", settings.files)
    return Kernel(
        clock=clock,
        chance=chance,
        journal=journal,
        registry=Registry([*configured, *drivers.found(shop, settings.engines)], aliases),
        scheduler=Scheduler(settings.scheduler),  # who runs next
        systems=Systems(settings.systems),  # what those outside bear
        tools=await tools(settings, lifeline, cells, gate),
        servers=tuple(
            McpServer(
                name,
                config,
                lifeline=lifeline,
                clock=clock,
                seal=gate.sealer(cells, f"mcp {name}", config.sandbox),
            )
            for name, config in settings.mcp.items()
        ),
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
        projections=(files.projection, memories.projection),
        guard=Guard(settings.policy, offload=ThreadOffload("policy")),  # what may be done
        desk=desk(power),  # who is asked
        tables=tables,  # who exists
        namer=Namer(journal.name_of),
        tasks=TaskOwner("kernel"),
        snapshot_seq=snapshot_seq,
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
    ready = connectors.build(settings.sql, settings.mail, settings.webhooks, SystemClock())
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


def models_dir(settings: Settings) -> Path:
    return Path(settings.models.dir).expanduser() if settings.models.dir else default_models_dir()


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
        place_among = await joined(kernel, power)
    except JournalStopped as reason:
        return await refused(power, app, stop, reason)
    await recovery.recover(kernel)
    lease.begin(place_among)
    kernel.tasks.start(retention.run(kernel, power.settings.journal.keep_days), "retention")
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


async def end(kernel: Kernel, power: Power, place_among: Lease | None) -> int:
    """Power off, in order; the exit status."""
    await shut_down(kernel)
    for projection in kernel.projections:
        await projection.close()
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


async def joined(kernel: Kernel, power: Power) -> Lease | None:
    """Its place among the kernels that share a database; None: it shares none."""
    config = power.settings.journal
    shared = cluster(Home(power.home), config, kernel.clock, kernel.chance)
    if shared is None:
        return None
    return await lease.joined(kernel, shared, power.url, platform.node(), config.schema)


async def let_go(kernel: Kernel, stop: asyncio.Event) -> None:
    """Programs that offer functions listen for ever: at power off they are let go."""
    await stop.wait()
    offers.disconnect(kernel)


def follow(kernel: Kernel) -> None:
    """Let what is made of the journal keep up with it."""
    for projection in kernel.projections:
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
        return EXIT_MISCONFIGURED


if __name__ == "__main__":
    sys.exit(main())
