"""What a kernel is made of, every table in order; read it as the table of contents."""

import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orlop
from orlop.abi.errors import BadCall, Misconfigured
from orlop.abi.ids import ModelName
from orlop.access.capability import Capabilities
from orlop.access.principal import OPERATOR_PREFIX, Tokens
from orlop.cluster.cluster import Cluster, cluster
from orlop.cluster.commons import Commons
from orlop.context.conversation import Namer
from orlop.devices.shim import Program, Shims
from orlop.drivers import engines as drivers
from orlop.drivers.engines import Workshop
from orlop.effects import connectors
from orlop.effects.command import SubprocessTool
from orlop.effects.found import Source
from orlop.effects.lifeline import Lifeline
from orlop.effects.mcp import McpServer
from orlop.effects.monty import MontyTool
from orlop.effects.openapi import OpenApiSource
from orlop.effects.python import gather_described
from orlop.files import live
from orlop.files.live import FileStore
from orlop.hardware.memory import ram_bytes
from orlop.hardware.table import DeviceTable
from orlop.http.gate import Gate
from orlop.kernel import recovery
from orlop.machine import redaction
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
from orlop.people.house import Desk, Post
from orlop.programs import shim, warden
from orlop.sandbox.cell import Doors
from orlop.sandbox.cells import Cells
from orlop.sched.scheduler import Scheduler
from orlop.settings import ModelsConfig, Settings, models_dir
from orlop.state.core import Kernel
from orlop.state.guard import Guard
from orlop.state.tables import Tables
from orlop.store import tapes
from orlop.store.home import Home
from orlop.store.journal import Journal
from orlop.store.secrets import read_secret, secret_file
from orlop.store.signing_keys import SigningKeys
from orlop.tools.catalog import Catalog
from orlop.tools.systems import Systems
from orlop.wire import webhook


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


def preload(settings: Settings) -> None:
    """What every kernel with these settings loads, once, before the first one is copied."""
    if settings.mcp:
        import orlop.effects.mcp_http
    if settings.openapi or settings.webhooks:
        import orlop.effects.outgoing
    if settings.people.webhook_url:
        import orlop.effects.postman  # noqa: F401


async def build(power: Power, tokens: Tokens, gate: Gate) -> Kernel:
    """Every table, in order."""
    settings, home = power.settings, Home(power.home)
    clock, chance = SystemClock(), SystemChance()  # time and chance
    shared = cluster(home, settings.journal, clock, chance)
    journal = journal_of(home, settings, clock, chance, shared)  # what has happened
    await journal.open(orlop.__version__, platform.node(), os.getpid())
    tables, snapshot_seq = await recovery.read_tables(journal)
    lifeline = Lifeline(home.path / "tools", Path(warden.__file__), clock)

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
        residents=residents(settings.models),  # which models lie where
        launcher=launcher(power, tokens, tables, cells, clock),  # what runs
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


def launcher(power: Power, tokens: Tokens, tables: Tables, cells: Cells, clock: Clock) -> Shims:
    def environment(program: Program) -> Mapping[str, str]:
        token = tokens.process(tables.rows[program.id], clock.wall_ns())
        return program_environment(
            program.env, power.url, power.socket_path, token, program.id, program.incarnation
        )

    return Shims(
        power.home / "run",
        Path(shim.__file__),
        power.lifeline,
        clock,
        environment,
        cells.program,
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


def sources(settings: Settings, lifeline: Lifeline, cells: Cells, gate: Gate) -> list[Source]:
    """Whose tools come and go."""
    servers = [
        McpServer(
            name,
            config,
            lifeline=lifeline,
            clock=SystemClock(),
            seal=gate.sealer(cells, f"mcp {name}", config.sandbox),
        )
        for name, config in settings.mcp.items()
    ]
    documents = [OpenApiSource(*one, SystemClock()) for one in settings.openapi.items()]
    return [*servers, *documents]


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
    post: Post | None = None
    if config.webhook_url:
        from orlop.effects.postman import Postman

        post = Postman().post
    return Desk(
        config=config,
        chains=settings.escalations,
        rules=settings.autonomy,
        secret=secret,
        post=post,
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
    ready, databases = connectors.build(
        settings.sql, settings.mail, settings.webhooks, settings.folders, SystemClock()
    )
    try:
        code = [MontyTool(settings.code)] if settings.code.enabled else []
        gone = [*sources(settings, lifeline, cells, gate), *databases]
        return Catalog([*built, *ready, *code], gone)
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
