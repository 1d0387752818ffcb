"""Ready-made tools: what orlop.toml says of databases, folders, mail and webhooks, built."""

from collections.abc import Mapping
from pathlib import Path

from orlop.abi.errors import Misconfigured
from orlop.effects import folder, mail, sql, webhooks
from orlop.effects.folder import Folder, FolderConfig
from orlop.effects.found import Acting, Source
from orlop.effects.mail import MailConfig, MailTool
from orlop.effects.sql import Database, SqlConfig, SqlTool
from orlop.effects.sql_source import SqlSource
from orlop.effects.sql_sqlite import Sqlite
from orlop.effects.webhooks import WebhookConfig, WebhookTool
from orlop.machine.clock import Clock
from orlop.machine.offload import ThreadOffload

SQLITE = "sqlite:///"


def check(
    databases: Mapping[str, SqlConfig],
    mails: Mapping[str, MailConfig],
    hooks: Mapping[str, WebhookConfig],
) -> None:
    """Raises `Misconfigured`."""
    sql.check(databases)
    mail.check(mails)
    webhooks.check(hooks)
    for name, config in databases.items():
        config.key(f"[sql.{name}]")


def build(
    databases: Mapping[str, SqlConfig],
    mails: Mapping[str, MailConfig],
    hooks: Mapping[str, WebhookConfig],
    folders: Mapping[str, FolderConfig],
    clock: Clock,
) -> tuple[list[Acting], list[Source]]:
    """What acts, and who looks whether what it acts on is there.  Nothing is connected yet."""
    tools: list[Acting] = []
    sources: list[Source] = []
    for name, config in databases.items():
        base = database(name, config)
        sources.append(SqlSource(name, config, base, clock))
        for word, statement in config.statements.items():
            tools.append(SqlTool(base, f"{name}.{word}", config, statement))
    tools += [
        MailTool(name, entry, clock, ThreadOffload(f"mail {name}")) for name, entry in mails.items()
    ]
    tools += [WebhookTool(name, hook, clock) for name, hook in hooks.items() if hook.url]
    for name, place in folders.items():
        changing, reading = ThreadOffload(f"change {name}"), ThreadOffload(f"read {name}")
        tools += folder.tools(name, Folder(place, clock, changing, reading))
    return tools, sources


def database(name: str, config: SqlConfig) -> Database:
    """Raises `Misconfigured` where its driver is not installed."""
    if config.url.startswith(SQLITE):
        said = config.url.removeprefix(SQLITE)
        path = Path(said) if said.startswith("~") else Path("/", said.lstrip("/"))
        return Sqlite(path.expanduser(), ThreadOffload(f"sql {name}"))
    password = config.key(f"[sql.{name}]")
    try:
        from orlop.effects.sql_postgres import Postgres
    except ImportError as error:
        raise Misconfigured(f"[sql.{name}]: `pip install 'orlop[postgres]'` first") from error
    return Postgres(config.url, password)
