"""A tenant with one of each thing that is a tenant's own, each of which says the canary."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bench.tenants_apart import CANARY, NAME, PROCESS, Asked, Caller, Json, Things

PROGRAM: Final = """
import asyncio, os
import orlop

async def main():
    async with orlop.connect() as kernel:
        @kernel.tool
        def lookup(text: str) -> str:
            "Looks it up: {canary}."
            return "{canary}"
        print(os.environ["ORLOP_TOKEN"], flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""

POLICY: Final = f'@id("{CANARY}")\npermit(principal, action, resource);\n'


class Installation(Asked, Protocol):
    """With its own commands, in the name of its operator."""

    def orlop(self, *words: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Tenant:
    """`operator`, `client`, `process`, `person`: tokens."""

    name: str
    operator: str
    client: str
    process: str
    person: str
    pid: str

    def callers(self) -> list[Caller]:
        return [
            Caller(f"{self.name}'s operator", self.operator),
            Caller(f"{self.name}'s client", self.client),
            Caller(f"{self.name}'s process", self.process),
            Caller(f"{self.name}'s person", self.person),
        ]


def tenant(api: Installation, name: str, mark: str) -> Tenant:
    """mark: what its names and its program say.

    Unconfined, so that this also runs where no sandbox works: tokens are what is tried here.
    """
    if name != "default":
        api.orlop("tenant", "create", name, "--unconfined")
    within = ("--tenant", name)
    operator = api.orlop("key", "create", "boss", "--operator", *within).strip()
    client = api.orlop("key", "create", f"{mark}-key", *within).strip()
    text = PROGRAM.replace("{canary}", mark)
    pid = api.orlop("run", "-d", "--name", f"p-{mark}", *within, "--", sys.executable, "-c", text)
    token = ""
    for _ in range(300):
        if token := api.orlop("logs", pid.strip(), *within).strip():
            break
        time.sleep(0.1)
    made = told(api.ask("post", "/orlop/v1/people", operator, {"name": f"{mark}-person"}))
    return Tenant(name, operator, client, token, str(made["token"]), pid.strip())


def things(api: Installation, own: Tenant) -> Things:
    """One of each, made by the tenant's own callers."""
    made: dict[str, list[str]] = {}
    calls(api, own, made)
    orders(api, own, made)
    api.orlop("files", "mount", f"/mnt-{CANARY}", "/usr/share", "--tenant", own.name)
    rows = json.loads(api.orlop("ps", "--json", "--tenant", own.name))
    named = next(row for row in rows if row["name"] == PROCESS)
    made["process"] = [named["id"], str(named["pid"]), PROCESS]
    made["account"] = [named["id"], f"process:{PROCESS}"]
    made["tool"] = [f"{row['id']}.lookup" for row in rows if str(row["pid"]) == own.pid]
    made["path"] = [f"/{NAME}", f"/{NAME}/notes.txt"]
    made["name"] = made["person"] = made["namespace"] = [NAME]
    made["tenant"] = [own.name]
    return Things(made)


def calls(api: Asked, own: Tenant, made: dict[str, list[str]]) -> None:
    def call(**fields: object) -> Json:
        return told(api.ask("post", "/orlop/v1/calls", own.client, fields, PROCESS))

    said = {"role": "user", "content": [{"type": "text", "text": CANARY}]}
    done = call(type="infer", model="fake", messages=[said])
    asleep = call(type="sleep", seconds=3_600)
    asked = call(type="ask", text=CANARY)
    made["call"] = [str(fact(done, "call")), str(asleep["call"]), str(asked["call"])]
    made["effect"] = made["call"][:1]
    call(type="write", files=[{"path": f"/{NAME}/notes.txt", "text": CANARY}])
    api.ask("post", "/orlop/v1/calls", own.client, {"type": "patch", "name": "x"}, CANARY)
    call(type="put", pipe=f"/{NAME}/pipe", data="Y2FuYXJ5")
    call(type="save_context", path=f"/{NAME}/context", call=made["call"][0])
    kept = call(type="remember", namespace=NAME, items=[{"text": CANARY, "subject": NAME}])
    written = kept["written"]
    assert isinstance(written, list)
    made["memory"] = [str(one["memory"] if isinstance(one, dict) else one[0]) for one in written]
    made["saga"] = [str(call(type="open_saga", name=CANARY)["saga"])]
    body = {"model": "fake", "input": CANARY}
    made["response"] = [
        str(told(api.ask("post", "/v1/responses", own.client, body, PROCESS))["id"])
    ]


def orders(api: Asked, own: Tenant, made: dict[str, list[str]]) -> None:
    def order(path: str, **fields: object) -> Json:
        return told(api.ask("post", f"/orlop/v1/{path}", own.operator, fields))

    made["key"] = [str(order("keys", name=CANARY)["id"])]
    schedule = {"when": "at 2199-01-01T00:00", "command": ["true", CANARY], "name": NAME}
    made["schedule"] = [str(order("schedules", **schedule)["id"])]
    order("budgets", account=f"team:{CANARY}", limit={"budget": {"tokens": 5_527}})
    order("people", name=NAME)
    order("people", name=CANARY)
    given = order("grants", agent=NAME, tool="echo", terms={"note": CANARY})["grant"]
    assert isinstance(given, dict)
    made["grant"] = [str(given["id"])]
    order("memory/kinds", name="canary", schema={"description": CANARY})
    order("policy", files={"own.cedar": POLICY})
    questions = json.loads(api.ask("get", "/orlop/v1/questions", own.operator)[1])
    made["question"] = [one["id"] for one in questions]
    events = api.ask("get", "/orlop/v1/journal/export", own.operator)[1]
    made["part"] = [part_of(events)]


def part_of(events: str) -> str:
    """A message's name, as the tenant's own export has it."""
    for line in events.splitlines():
        event = json.loads(line)["event"] or {}
        for name in (event.get("context") or {}).get("new", ()):
            return str(name)
    raise AssertionError("no event names a message")


def told(answer: tuple[int, str]) -> Json:
    status, text = answer
    assert status in (200, 201, 202), f"{status} {text}"
    found: dict[str, object] = json.loads(text)
    return found


def fact(done: Json, name: str) -> object:
    facts = done["facts"]
    assert isinstance(facts, Mapping)
    return facts[name]


STATE: Final = (
    "processes?all=1",
    "keys",
    "schedules",
    "budgets?all=1",
    "questions?all=1",
    "people",
    "grants?all=1",
    "autonomy",
    "policy",
    "sagas?all=1",
    "effects",
    "memory",
    "memory/export?past=1",
    "memory/kinds",
    "memory/shares",
    "mounts",
    "tokens/revoked",
    "tools",
    "journal/export",
)
"""All that an operator can see of a tenant; any doing of its own is an event in its export."""


def state(api: Asked, own: Tenant) -> dict[str, str]:
    """What nobody but the tenant may move."""
    found = {}
    for path in STATE:
        status, text = api.ask("get", f"/orlop/v1/{path}", own.operator)
        assert status == 200, f"{path}: {text}"
        found[path] = text
    return found
