"""A support desk of 24 tickets and 24 agents, through a crash of the kernel and of an agent.

`make demo` runs this; everything that it makes lies in one folder, and nothing is left running.
"""

import argparse
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import psutil
from openai import OpenAI, OpenAIError

import desk
import shop
from orlop import KernelError
from orlop.abi.admin import ProcessView
from outage import Watcher
from report import Report, Written, right, save, show, spread
from straight import compare
from system import DemoFailed, System

TICKETS_S_MAX: Final = 300.0
"""Until all tickets are finished; two quiet cores need less than one.  Later it gives up."""

TICKETS_MIN: Final = 4
"""With fewer there is no middle in which to kill somebody."""

COMPARED_MAX: Final = 8
"""Drafts that are asked for again, straight and through the kernel, for comparison."""

NS_PER_S: Final = 1_000_000_000
GLANCE_S: Final = 0.2
STARTERS: Final = 4
"""`orlop run` commands at once."""

GIVEN_UP_S: Final = 10.0
"""An agent that has failed and is not started again within this time stays down."""


def say(line: str) -> None:
    print(line, flush=True)


class Options(argparse.Namespace):
    """The command line."""

    engine: str
    model: str
    tickets: int
    folder: Path
    json: Path | None
    fake: bool

    @property
    def engines(self) -> list[str]:
        return [self.engine] if self.engine else []

    def engine_address(self) -> tuple[str, str] | None:
        """Of the engine that the user names."""
        _, _, url = self.engine.partition("=")
        return (f"{url.rstrip('/').removesuffix('/v1')}/v1", "none") if url else None


def read_options() -> Options:
    parser = argparse.ArgumentParser(description="A support desk that survives a crash.")
    parser.add_argument("--engine", default="", metavar="NAME=URL", help="a better model's server")
    parser.add_argument("--model", default=desk.CHAT_MODEL, help="who drafts the replies")
    parser.add_argument("--tickets", type=int, default=len(desk.tickets()), help="how many")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="emptied at the start")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--fake", action="store_true", help="engines of arithmetic, for tests")
    options = parser.parse_args(namespace=Options())
    if not TICKETS_MIN <= options.tickets <= len(desk.tickets()):
        parser.error(f"--tickets: from {TICKETS_MIN} to {len(desk.tickets())}")
    return options


class Demo:
    """One run."""

    def __init__(self, system: System, tickets: Sequence[desk.Ticket], model: str) -> None:
        self._system = system
        self._tickets = tickets
        self._model = model
        self._until_s = time.monotonic() + TICKETS_S_MAX

    def learn(self, address: tuple[str, str]) -> None:
        """The micro tier's examples, as vectors for the agents."""
        url, key = address
        client = OpenAI(base_url=url, api_key=key)
        vectors = {}
        for name, texts in desk.labelled().items():
            found = client.embeddings.create(model=desk.EMBED_MODEL, input=texts)
            vectors[name] = [one.embedding for one in found.data]
        self._system.vectors.write_bytes(msgspec.json.encode(vectors))

    def start_agents(self) -> None:
        """Every second ticket goes to an SDK agent, the others to plain scripts."""
        env = {"DESK_VECTORS": str(self._system.vectors), "DESK_MODEL": self._model}

        def start(ticket: desk.Ticket) -> ProcessView:
            script = "sdk_agent.py" if int(ticket.id) % 2 else "plain_agent.py"
            command = (sys.executable, str(desk.HERE / script), ticket.id)
            return self._system.run(f"ticket-{ticket.id}", env, command)

        with ThreadPoolExecutor(STARTERS) as threads:
            list(threads.map(start, self._tickets))

    def watch(self) -> None:
        """Until all agents have finished; in the middle, the kernel and an agent are killed."""
        kernel_at, agent_at = len(self._tickets) // 4, len(self._tickets) // 2
        kernel_killed = agent_killed = False
        failed_s: dict[str, float] = {}
        while True:
            time.sleep(GLANCE_S)
            agents = self._agents()
            decided = self._decided()
            if not kernel_killed and decided >= kernel_at:
                kernel_killed = self._kill_kernel(decided)
            elif kernel_killed and not agent_killed and decided >= agent_at:
                agent_killed = self._kill_agent(agents)
            elif all(agent.status == 0 for agent in agents):
                break
            self._look_for_trouble(agents, failed_s)
        if not agent_killed:
            raise DemoFailed("all agents had finished before one could be killed: no proof")

    def _agents(self) -> list[ProcessView]:
        return [view for view in self._system.processes() if view.name.startswith("ticket-")]

    def _decided(self) -> int:
        with closing(sqlite3.connect(self._system.shop)) as books:
            count: int = books.execute("SELECT count(*) FROM decision").fetchone()[0]
        return count

    def _kill_kernel(self, decided: int) -> bool:
        pid = self._system.info().os_pid
        os.kill(pid, signal.SIGKILL)
        epoch = self._system.info().epoch
        say(f"  {decided:2} decided: the kernel is killed (SIGKILL to {pid})")
        say(f"              the supervisor has started the next one, epoch {epoch} of the journal")
        return True

    def _kill_agent(self, agents: Sequence[ProcessView]) -> bool:
        """One that has finished some calls and is in the middle of another."""
        for agent in agents:
            if agent.os_pid is None or agent.status is not None:
                continue
            if agent.calls < 2 or not agent.calls_in_flight:
                continue
            try:
                for command in psutil.Process(agent.os_pid).children():
                    os.killpg(command.pid, signal.SIGKILL)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
            say(
                f"              {agent.name} is killed (SIGKILL), {agent.calls} calls into its work"
            )
            return True
        return False

    def _look_for_trouble(self, agents: Sequence[ProcessView], failed_s: dict[str, float]) -> None:
        """Raises `DemoFailed` for an agent that stays down, and when time is up."""
        now_s = time.monotonic()
        for agent in agents:
            if agent.status in (None, 0):
                failed_s.pop(agent.name, None)
            elif now_s - failed_s.setdefault(agent.name, now_s) > GIVEN_UP_S:
                said = self._system.orlop("logs", agent.name)
                raise DemoFailed(f"{agent.name} failed ({agent.reason}) and stays down:\n{said}")
        if now_s > self._until_s:
            unfinished = [agent.name for agent in agents if agent.status != 0]
            raise DemoFailed(f"not finished within {TICKETS_S_MAX:g} s: {', '.join(unfinished)}")

    def prompts(self) -> list[str]:
        """What the agents ask for, of some of the tickets."""
        prompts = []
        with closing(sqlite3.connect(self._system.shop)) as books:
            books.row_factory = sqlite3.Row
            for ticket in self._tickets[:COMPARED_MAX]:
                order = msgspec.convert(shop.lookup(books, ticket.order), desk.Order)
                prompts.append(desk.prompt(ticket, order, desk.decide(ticket.label, order)))
        return prompts

    def report(self, outage: Watcher, wall_s: float, *, fake: bool) -> Report:
        """The figures, from the kernel's process table and from the shop's own books.

        The journal's and the comparison's come later.
        """
        agents, tickets = self._agents(), self._tickets
        with closing(sqlite3.connect(self._system.shop)) as books:
            attempts: int = books.execute("SELECT count(*) FROM attempt").fetchone()[0]
            rows = books.execute('SELECT "order", label, verdict, reply FROM decision').fetchall()
        decisions = [Written(*row) for row in rows]
        took_s = [((a.ended_ns or a.spawned_ns) - a.spawned_ns) / NS_PER_S for a in agents]
        p50_s, p95_s = spread(took_s)
        return Report(
            fake=fake,
            model=self._model,
            tickets=len(tickets),
            tickets_finished=sum(agent.status == 0 for agent in agents),
            classes_right=right(tickets, decisions),
            calls_made=sum(agent.calls for agent in agents),
            calls_from_journal=sum(agent.calls_replayed for agent in agents),
            agents_restarted=sum(agent.incarnation > 1 for agent in agents),
            input_tokens=sum(agent.input_tokens for agent in agents),
            output_tokens=sum(agent.output_tokens for agent in agents),
            wall_s=wall_s,
            ticket_s_p50=p50_s,
            ticket_s_p95=p95_s,
            outage_s=outage.wait_s_max,
            refused=outage.refused,
            attempts=attempts,
            effects=len(decisions),
            orders_decided_once=len({decision.order for decision in decisions}),
            decisions=decisions,
        )


def run(options: Options) -> Report:
    """The whole demo, from an empty folder to a stopped kernel.  Raises `DemoFailed`."""
    system = System(options.folder.resolve())
    system.prepare(fake=options.fake)
    try:
        report = work(system, options)
        system.down()
        return msgspec.structs.replace(report, journal_events=system.verify().events)
    finally:
        stop(system)


def work(system: System, options: Options) -> Report:
    """From `orlop up` to the last answer."""
    tickets = desk.tickets()[: options.tickets]
    demo = Demo(system, tickets, options.model)
    say(f"A support desk of {len(tickets)} tickets, each with an agent of its own.")
    began_s = time.monotonic()
    system.up(options.engines)
    say(f"  the kernel is up, its models loaded, after {time.monotonic() - began_s:.1f} s")
    address = system.address()
    demo.learn(address)
    watcher = Watcher(address[0])
    watcher.start()
    began_s = time.monotonic()
    demo.start_agents()
    demo.watch()
    wall_s = time.monotonic() - began_s
    watcher.stop()
    say(f"  all tickets are finished after {wall_s:.1f} s")
    report = demo.report(watcher, wall_s, fake=options.fake)
    if options.fake:
        return report
    say("  some of the drafts once more, straight to the engine and through the kernel")
    engine = options.engine_address() or system.engine_address()
    straight, through = compare(engine, address, options.model, demo.prompts())
    return msgspec.structs.replace(report, straight=straight, through=through)


def stop(system: System) -> None:
    """Leave nothing running, whatever has happened."""
    try:
        system.down()
    except DemoFailed as error:
        say(str(error))
    for process in system.left_running():
        say(f"  still there, and killed: {' '.join(process.cmdline())}")
        process.kill()


def main() -> int:
    options = read_options()
    # Who ends us politely finds nothing left running either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        report = run(options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (DemoFailed, KernelError, OpenAIError) as error:
        print(f"the demo failed: {error}\n  more: {options.folder}/home/log", file=sys.stderr)
        return 1
    show(report)
    if options.json is not None:
        save(report, options.json)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
