"""Does anything get out of a sandbox, or from one caller to another?

Every way out of `bench.escapes`, in each sandbox tier that works here; then every route of the HTTP
API and every system call, asked with other callers' tokens for what is one process's own,
and by one tenant for what is another's.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.escapes import ATTEMPTS, gets_out, prey
from bench.report import Report, begin, finish, flags
from bench.tenant_things import state as tenant_state
from bench.tenant_things import tenant, things
from bench.tenants_apart import CANARY as CANARY_OF_TENANTS
from bench.tenants_apart import apart
from orlop.abi.calls import Call
from orlop.abi.sandbox import Sandbox
from orlop.sandbox import tiers
from orlop.sandbox.cell import Doors, seal
from orlop.sandbox.ground import INTERPRETER

ORLOP: Final = (sys.executable, "-m", "orlop.shell.main")
CANARY: Final = "canary-7411-isolation"
ASK_S: Final = 5.0
NOTHING: Final = Sandbox()

PRIVATE: Final = frozenset(
    {"call", "effect", "key", "memory", "process", "question", "response", "saga", "schedule"}
)
"""What a path may name that is one caller's own: nobody else is told even that it is there."""

LASTLY: Final = ("exit",)
"""Calls after which a caller is no more."""

Json = Mapping[str, object]


@dataclass(slots=True)
class Victim:
    """What is his own, by the name that a path has for it: nobody else shall reach it."""

    own: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    token: str


class Api:
    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url

    def ask(
        self, method: str, path: str, token: str, body: object = None, process: str = ""
    ) -> tuple[int, str]:
        headers = {"content-type": "application/json", "prefer": "wait=0"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if process:
            headers["orlop-process"] = process
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method.upper())
        try:
            with urllib.request.urlopen(request, timeout=ASK_S) as answer:
                return int(answer.status), answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError:
            return 0, ""  # It waits, as `wait` and `ask` do: nothing was told.

    def orlop(self, *words: str) -> str:
        done = subprocess.run(
            [*ORLOP, *words],
            env={**os.environ, "ORLOP_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


@contextmanager
def up() -> Iterator[Api]:
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        home = Path(scratch)
        config = f'[models]\ndir = "{home}/models"\n[engines.fake]\ndriver = "fake"\n'
        config += '[tools.echo]\ncommand = ["cat"]\neffect = "pure"\n'
        (home / "orlop.toml").write_text(config)
        api = Api(home, "")
        api.orlop("up", "-d", "--port", "0")
        api.url = json.loads((home / "info.json").read_text())["url"]
        try:
            yield api
        finally:
            api.orlop("down")


def main() -> None:
    given = flags(__doc__ or "")
    report = begin(
        "isolation: what gets out of a sandbox, and from one caller to another",
        "0 escapes, 0 leaks; a sandbox costs some 50 ms at a program's start",
    )
    escapes(report)
    cost(report, rounds=5 if given.quick else 20)
    with up() as api:
        leaks(api, report)
    with up() as api:
        tenants(api, report)
    finish(report, given.json)


def escapes(report: Report) -> None:
    with prey() as found:
        free = [one for one in ATTEMPTS if one.outside]
        got_out = sum(gets_out(one, found, None)[0] for one in free)
    report.add("ways out that are tried", len(ATTEMPTS), "")
    report.add("of these, out without any sandbox (the rest need root)", got_out, "")
    for tier in tiers.TIERS:
        trial = tiers.trial(tier)
        if not trial.works:
            print(f"  {tier}: not here: {trial.reason}")
            continue
        with prey() as found:
            out = [one.name for one in ATTEMPTS if gets_out(one, found, tier)[0]]
        report.add(f"escapes, tier {tier}", len(out), "", "0")
        for name in out:
            print(f"    out: {name}")


def cost(report: Report, rounds: int) -> None:
    """What a sandbox adds to the start of a program."""
    command: Sequence[str] = (INTERPRETER, "-I", "-S", "-c", "pass")
    report.median("a Python program, from start to end", timed(command, rounds), "ms")
    for tier in tiers.TIERS:
        if tiers.trial(tier).works:
            with tempfile.TemporaryDirectory() as home:
                sealed = seal(NOTHING, tier, Doors(home=Path(home)), command, {}, "")
            name = f"the same in a sandbox, tier {tier}"
            report.median(name, timed(sealed.command, rounds), "ms")


def timed(command: Sequence[str], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        times.append(1e3 * (time.perf_counter() - began_s))
    return times


def leaks(api: Api, report: Report) -> None:
    """Every route and every call, as each of the others."""
    owner = key(api, "owner")
    operator = (api.home / "keys" / "operator.token").read_text().strip()
    victim = victim_of(api, owner, operator)
    before = state(api, operator, victim)
    document = json.loads(api.ask("get", "/openapi.json", operator)[1])
    tried, told = 0, list[str]()
    for caller in callers(api, owner):
        for method, path, bodies in routes(document, victim):
            for body in bodies:
                tried += 1
                status, said = api.ask(method, path, caller.token, body, "mallory")
                if is_leak(path, status, said, victim):
                    told.append(f"{caller.name}: {method} {path} {json.dumps(body)[:90]}: {status}")
    after = state(api, operator, victim)
    changed = [name for name in before if before[name] != after[name]]
    report.add("requests, over all routes, calls and callers", tried, "")
    report.add("leaks: somebody else was told", len(told), "", "0")
    report.add("changes: somebody else's doing", len(changed), "", "0")
    for line in [*told, *(f"changed: {name}" for name in changed)]:
        print(f"    {line}")


def tenants(api: Api, report: Report) -> None:
    """Every route and every call of one tenant's callers, with the names of another's things."""
    one, other = tenant(api, "tenant-one", CANARY_OF_TENANTS), tenant(api, "tenant-two", "mallory")
    operator = (api.home / "keys" / "operator.token").read_text().strip()
    document = json.loads(api.ask("get", "/openapi.json", operator)[1])
    theirs = things(api, one)
    before = tenant_state(api, one)
    asking = [*other.callers(), *tenant(api, "default", "mallory").callers()]
    found = apart(api, document, asking, theirs)
    after = tenant_state(api, one)
    changed = [name for name in before if before[name] != after[name]]
    report.add("requests by one tenant with another's names", found.tried, "")
    report.add("leaks: told what is another tenant's", len(found.told), "", "0")
    report.add("leaks: answered otherwise than for unknown names", len(found.unlike), "", "0")
    report.add("changes of what is another tenant's", len(changed), "", "0")
    for line in [*found.told, *found.unlike, *(f"changed: {name}" for name in changed)]:
        print(f"    {line}")


def key(api: Api, name: str, *rights: str) -> str:
    words = [word for right in rights for word in ("--allow", right)]
    return str(json.loads(api.orlop("key", "create", name, *words, "--json"))["secret"])


def callers(api: Api, owner: str) -> list[Caller]:
    gone = key(api, "gone")
    listed = json.loads(api.orlop("key", "list", "--json"))
    api.orlop("key", "revoke", next(row["id"] for row in listed if row["name"] == "gone"))
    program = ("import os, time; print(os.environ['ORLOP_TOKEN'], flush=True); time.sleep(3600)",)
    rights = ("model", "tool", "ask", "signal", "spawn")
    words = [word for right in rights for word in ("--allow", right)]
    api.orlop("run", "-d", "--name", "other", *words, "--", sys.executable, "-c", *program)
    token = ""
    while not token:
        token = api.orlop("logs", "other").strip()
    return [
        Caller("nobody", ""),
        Caller("a forged key", owner[:-4] + "0000"),
        Caller("a revoked key", gone),
        Caller("a cut token", token[:-9]),
        Caller("another key", key(api, "other", *rights)),
        Caller("another process", token),
    ]


def victim_of(api: Api, owner: str, operator: str) -> Victim:
    """One of each thing that is a process's own."""
    victim, calls = Victim(), "/orlop/v1/calls"
    message = {"role": "user", "content": [{"type": "text", "text": CANARY}]}
    done = told(api.ask("post", calls, owner, infer(message), "victim"))
    asleep = told(api.ask("post", calls, owner, {"type": "sleep", "seconds": 3_600}, "victim"))
    asked = told(api.ask("post", calls, owner, {"type": "ask", "text": CANARY}, "victim"))
    body = {"model": "fake", "input": CANARY}
    answered = told(api.ask("post", "/v1/responses", owner, body, "victim"))
    facts = done["facts"]
    assert isinstance(facts, dict)
    row = next(one for one in json.loads(api.orlop("ps", "--json")) if one["name"] == "victim")
    questions = json.loads(api.ask("get", "/orlop/v1/questions", operator)[1])
    victim.own = {
        "call": [str(facts["call"]), str(asleep["call"]), str(asked["call"])],
        "process": [row["id"], str(row["pid"]), "victim"],
        "response": [str(answered["id"])],
        "question": [one["id"] for one in questions],
        "key": [one["id"] for one in json.loads(api.orlop("key", "list", "--json"))],
        "file": ["/private/victim"],
        "memory": ["victim"],
    }
    files = {"type": "write", "files": [{"path": "/private/victim", "text": CANARY}]}
    api.ask("post", calls, owner, files, "victim")
    memory = {"type": "remember", "namespace": "victim", "items": [{"text": CANARY}]}
    api.ask("post", calls, owner, memory, "victim")
    return victim


def infer(message: Json) -> Json:
    return {"type": "infer", "model": "fake", "messages": [message]}


def told(answer: tuple[int, str]) -> Json:
    status, text = answer
    assert status in (200, 202), text
    found: dict[str, object] = json.loads(text)
    return found


def state(api: Api, operator: str, victim: Victim) -> dict[str, object]:
    """What nobody but its owner may move."""
    process = victim.own["process"][0]
    row = json.loads(api.ask("get", f"/orlop/v1/processes/{process}", operator)[1])
    questions = json.loads(api.ask("get", "/orlop/v1/questions", operator)[1])
    keys = json.loads(api.ask("get", "/orlop/v1/keys", operator)[1])
    kept = ("state", "incarnation", "calls", "rights", "outcome", "budget", "status")
    return {
        **{f"process {name}": row.get(name) for name in kept},
        "questions": [(one["id"], one.get("state")) for one in questions if CANARY in str(one)],
        "keys": sorted(one["id"] for one in keys if one["id"] in victim.own["key"]),
    }


def routes(document: Json, victim: Victim) -> Iterator[tuple[str, str, list[object]]]:
    """Every route, with the victim's names where a path has a place for one."""
    paths = document["paths"]
    assert isinstance(paths, dict)
    for path, methods in paths.items():
        words = [word[1:-1] for word in path.split("/") if word.startswith("{")]
        names = victim.own.get(words[0], ["x"]) if words else [""]
        for name in names:
            filled = path.replace("{" + words[0] + "}", name.replace("/", "%2F")) if words else path
            for method in methods:
                yield method, filled + query(path), bodies(method, path, victim)


def query(path: str) -> str:
    return {
        "/orlop/v1/files": "?path=/private/victim",
        "/orlop/v1/memory": "?namespace=victim",
        "/orlop/v1/memory/export": "?namespace=victim",
        "/orlop/v1/processes/{process}/wait": "?wait=0",
    }.get(path, "")


def bodies(method: str, path: str, victim: Victim) -> list[object]:
    if method in ("get", "delete", "head"):
        return [None]
    if path == "/orlop/v1/calls":
        return [*calls(victim)]
    if path == "/v1/responses":
        previous = victim.own["response"][0]
        return [{"model": "fake", "input": "repeat", "previous_response_id": previous}]
    process = victim.own["process"][0]
    return [
        {},
        {"signal": "kill", "process": process, "right": "*", "answer": CANARY[:6], "text": "x"},
        {"model": "fake", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3},
    ]


def calls(victim: Victim) -> Iterator[Json]:
    """Each system call, with the victim's names in whatever takes a name."""
    kinds = sorted(Call.__args__, key=lambda kind: str(kind.__struct_config__.tag) in LASTLY)
    for kind in kinds:
        made: dict[str, object] = {"type": str(kind.__struct_config__.tag)}
        for name in kind.__struct_fields__:
            if (value := filled(name, victim)) is not None:
                made[name] = value
        yield made
        for process in victim.own["process"]:
            yield made | {"process": process} if "process" in made else made


def filled(name: str, victim: Victim) -> object:
    """A field's value by its name: the victim's where it can be."""
    known: dict[str, object] = {
        "process": victim.own["process"][0],
        "path": "/private/victim",
        "to": "/stolen",
        "paths": ["/private/victim"],
        "files": [{"path": "/private/victim", "text": "x"}],
        "namespace": "victim",
        "namespaces": ["victim"],
        "query": CANARY[:6],
        "text": "x",
        "items": [{"text": "x"}],
        "command": ["true"],
        "seconds": 0.01,
        "model": "fake",
        "prompt": "x",
        "inputs": ["x"],
        "tool": "none",
        "right": "*",
        "name": "x",
        "status": 0,
        "signal": "kill",
        "pipe": "/private/victim",
        "method": "GET",
        "url": "http://127.0.0.1:1/",
        "saga": "x",
    }
    return known.get(name)


def is_leak(path: str, status: int, said: str, victim: Victim) -> bool:
    """Told what is the victim's, or that something of his is there."""
    if CANARY in said:
        return True
    named = {name for kind in PRIVATE for name in victim.own.get(kind, ())}
    words = path.partition("?")[0].split("/")
    return status in (200, 202) and any(word in named for word in words)


if __name__ == "__main__":
    main()
