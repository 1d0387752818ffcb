"""The whole of orlop.toml, and whether it makes sense; nothing is started here."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orlop.abi.errors import Misconfigured
from orlop.abi.sandbox import Sandbox
from orlop.access.capability import TokenConfig
from orlop.devices import shelf
from orlop.drivers import engines as drivers
from orlop.drivers.engines import EngineConfig
from orlop.effects import connectors, folder, mcp, openapi
from orlop.effects.command import ToolConfig
from orlop.effects.folder import FolderConfig
from orlop.effects.mail import MailConfig
from orlop.effects.mcp import McpConfig
from orlop.effects.monty import CodeConfig
from orlop.effects.openapi import OpenApiConfig
from orlop.effects.sql import SqlConfig
from orlop.effects.webhooks import WebhookConfig
from orlop.files.live import FileConfig
from orlop.hardware import configured as configured_devices
from orlop.hardware.configured import DeviceConfig
from orlop.http.gate import EgressConfig
from orlop.http.place import HttpConfig
from orlop.machine.ranges import Chances, Count, Seconds
from orlop.machine.settings import default_models_dir, load, placed
from orlop.memory import memories as memory
from orlop.memory.memories import MemoryConfig
from orlop.meter.usage import PriceConfig
from orlop.models import forms, ladder
from orlop.models.forms import CardConfig
from orlop.models.ladder import LadderConfig
from orlop.people import chains, house, rules
from orlop.people.chains import ChainConfig
from orlop.people.house import PeopleConfig
from orlop.people.rules import AutonomyConfig
from orlop.sandbox.airgap import listed
from orlop.sandbox.cells import NO_NETWORK, SandboxConfig, check_config
from orlop.sched.scheduler import SchedulerConfig
from orlop.state.core import KernelConfig
from orlop.state.guard import PolicyConfig
from orlop.store.output import OutputConfig
from orlop.store.tapes import JournalConfig
from orlop.subsystems import (
    policies,
)
from orlop.tools.systems import SystemConfig, Systems


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
    folders: dict[str, FolderConfig] = field(default_factory=dict)
    """Folders of the host by name, each in a table of its own."""
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
    output: OutputConfig = field(default_factory=OutputConfig)
    code: CodeConfig = field(default_factory=CodeConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)


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
    try:
        return _checked(settings, home)
    except Misconfigured as error:
        raise placed(path, error) from error


def _checked(settings: Settings, home: Path) -> Settings:
    """What no single line tells: whether it fits together, and this machine.

    Raises `Misconfigured`; the message begins with the place.
    """
    for name, entry in settings.engines.items():
        drivers.check(name, entry, models_dir(settings))
    for name, tool in settings.tools.items():
        tool.card(name)
    configured_devices.check(settings.devices)
    mcp.check(settings.mcp)
    openapi.check(settings.openapi)
    Systems(settings.systems)
    connectors.check(settings.sql, settings.mail, settings.webhooks)
    folder.check(settings.folders, home)
    policies.check_config(settings.policy)
    house.check(settings.people)
    chains.check(settings.escalations)
    rules.check(settings.autonomy)
    if os.environ.get("ORLOP_AIRGAP"):
        settings = replace(settings, egress=replace(settings.egress, airgap=True))
    check_config(settings.sandbox, sandboxes(settings), home)
    settings.egress.rules()
    settings = replace(settings, memory=memory.checked(settings.memory, settings.journal.url))
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


def models_dir(settings: Settings) -> Path:
    return Path(settings.models.dir).expanduser() if settings.models.dir else default_models_dir()
