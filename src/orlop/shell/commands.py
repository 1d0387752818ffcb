"""`orlop`: the table of commands, and the way from a command line to an exit code."""

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar, Final

import click

import orlop
from orlop.abi.errors import BadCall
from orlop.console.exits import BUG, FAILED, INTERRUPTED, OK
from orlop.console.frame import Refusal
from orlop.console.lazy import Entry, LazyGroup

KERNEL: Final = "The kernel"
PROCESSES: Final = "Processes"
DEVICES: Final = "Models, engines, tools"
ACCESS: Final = "Keys, budgets, schedules"
RECORDS: Final = "Records and help"

UNWRITABLE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Why something can't be written; a failed write, unlike a failed open, names no file."""

WHERE: Final = "to standard output, or where the command line says"

COMMANDS: Final = {
    "up": Entry(KERNEL, "Start the kernel and its engines."),
    "down": Entry(KERNEL, "Stop the kernel and what it started."),
    "info": Entry(KERNEL, "Show where everything is.", "orlop.shell.info:info"),
    "kernels": Entry(
        KERNEL, "List the kernels that share a database.", "orlop.shell.kernels:kernels"
    ),
    "doctor": Entry(KERNEL, "Look for what is wrong, and say how to mend it."),
    "run": Entry(PROCESSES, "Start a program as a process.", "orlop.shell.run:run"),
    "ps": Entry(PROCESSES, "List processes.", "orlop.shell.processes:ps"),
    "show": Entry(PROCESSES, "Show all about a process.", "orlop.shell.processes:show"),
    "logs": Entry(PROCESSES, "Show what a process printed.", "orlop.shell.logs:logs"),
    "top": Entry(PROCESSES, "Show what runs and what waits, live.", "orlop.shell.top:top"),
    "trace": Entry(
        PROCESSES, "Show a process's calls and children as a tree.", "orlop.shell.trace:trace"
    ),
    "coverage": Entry(
        PROCESSES,
        "Show how much of what a process did its record covers.",
        "orlop.shell.coverage:coverage",
    ),
    "wait": Entry(PROCESSES, "Wait until processes have ended.", "orlop.shell.signals:wait"),
    "kill": Entry(PROCESSES, "End processes.", "orlop.shell.signals:kill"),
    "stop": Entry(PROCESSES, "Pause processes.", "orlop.shell.signals:stop"),
    "cont": Entry(PROCESSES, "Let paused processes go on.", "orlop.shell.signals:cont"),
    "resume": Entry(
        PROCESSES, "Start a process again with what it had finished.", "orlop.shell.run:resume"
    ),
    "replay": Entry(
        PROCESSES, "Run a process again from its record alone.", "orlop.shell.replay:replay"
    ),
    "models": Entry(
        DEVICES, "List models; load, unload and pin them.", "orlop.shell.models:models"
    ),
    "pull": Entry(DEVICES, "Fetch embedded models."),
    "devices": Entry(
        DEVICES, "List engines and devices; drain and claim.", "orlop.shell.devices:devices"
    ),
    "tools": Entry(DEVICES, "List tools; agree to changed ones.", "orlop.shell.tools:tools"),
    "effects": Entry(
        DEVICES, "List effects that may have happened.", "orlop.shell.effects:effects"
    ),
    "mcp": Entry(DEVICES, "Serve the kernel's tools over MCP.", "orlop.shell.mcp:mcp"),
    "systems": Entry(
        DEVICES, "List external systems and their limits.", "orlop.shell.tools:systems"
    ),
    "sagas": Entry(DEVICES, "List sagas that are not over.", "orlop.shell.effects:sagas"),
    "plan": Entry(DEVICES, "Foretell how a workload does on a fleet."),
    "calibrate": Entry(DEVICES, "Measure how fast an engine is."),
    "export": Entry(
        RECORDS, "Write everything as JSON lines and files.", "orlop.shell.carry:export"
    ),
    "import": Entry(
        RECORDS, "Bring an export's files and memories here.", "orlop.shell.carry:import_"
    ),
    "context": Entry(
        RECORDS, "Contexts as files: save, show, shorten.", "orlop.shell.contexts:context"
    ),
    "files": Entry(RECORDS, "Agents' files: versions, search, sharing.", "orlop.shell.files:files"),
    "memory": Entry(
        RECORDS,
        "What agents remember: versioned, attributable, as of any moment.",
        "orlop.shell.memory:memory",
    ),
    "approvals": Entry(
        ACCESS, "List what waits for a person's word.", "orlop.shell.approvals:approvals"
    ),
    "approve": Entry(ACCESS, "Let an agent call a tool.", "orlop.shell.approvals:approve"),
    "deny": Entry(ACCESS, "Refuse an agent a call.", "orlop.shell.approvals:deny"),
    "take": Entry(ACCESS, "Say that you have done it yourself.", "orlop.shell.approvals:take"),
    "answer": Entry(ACCESS, "Answer an agent's question.", "orlop.shell.approvals:answer"),
    "grants": Entry(ACCESS, "List, give and revoke grants.", "orlop.shell.grants:grants"),
    "autonomy": Entry(
        ACCESS, "List, explain and move agents' levels.", "orlop.shell.autonomy:autonomy"
    ),
    "people": Entry(ACCESS, "Show people's work and what it costs.", "orlop.shell.people:people"),
    "policy": Entry(
        ACCESS, "Show, check, set and test what may be done.", "orlop.shell.policy:policy"
    ),
    "tenant": Entry(ACCESS, "Make, list and remove tenants.", "orlop.shell.tenants:tenant"),
    "key": Entry(ACCESS, "Make, list and revoke clients' keys.", "orlop.shell.keys:key"),
    "token": Entry(
        ACCESS, "Narrow, show and revoke the tokens of processes.", "orlop.shell.tokens:token"
    ),
    "rights": Entry(
        ACCESS, "Show what a process may do; give and take.", "orlop.shell.rights:rights"
    ),
    "budget": Entry(ACCESS, "Show and set what accounts may use.", "orlop.shell.budgets:budget"),
    "schedule": Entry(ACCESS, "Start a program at set times.", "orlop.shell.schedules:schedule"),
    "backup": Entry(RECORDS, "Copy the installation into FOLDER, also while it runs."),
    "restore": Entry(
        RECORDS, "Bring a backup back into an empty home (--home), proven event by event."
    ),
    "drill": Entry(
        RECORDS, "Back up, restore elsewhere, verify, and say what a disaster now would cost."
    ),
    "move": Entry(RECORDS, "Carry the journal to another place, and verify it there."),
    "upgrade": Entry(RECORDS, "Bring the journal's tables to this release's layout."),
    "audit": Entry(
        RECORDS,
        "Export the journal for auditors; list who approved what.",
        "orlop.shell.audit:audit",
    ),
    "journal": Entry(RECORDS, "Verify and export the journal.", "orlop.shell.journal:journal"),
    "explain": Entry(RECORDS, "Explain an error code.", "orlop.shell.explain:explain"),
    "completion": Entry(
        RECORDS, "Print a script that completes commands.", "orlop.shell.completion:completion"
    ),
}


class Root(LazyGroup):
    entries: ClassVar = COMMANDS


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(orlop.__version__, prog_name="orlop")
def root() -> None:
    """The operating system beneath your agents.

    Begin with `orlop up -d`, then `orlop run -- COMMAND`.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; gives its exit code."""
    try:
        status: object = root.main(list(arguments), prog_name="orlop", standalone_mode=False)
    except Refusal as refusal:
        refusal.show()
        return refusal.status
    except click.ClickException as misuse:
        if _wants_json(arguments):
            Refusal(BadCall(misuse.format_message()), as_json=True).show()
        else:
            misuse.show()
        return misuse.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit:
        return OK  # So click ends where the reader (`| head`) has what it wanted and has left.
    except OSError as error:
        if error.errno not in UNWRITABLE:
            return _broken()
        with suppress(OSError):
            click.echo(f"error: could not write: {error.strerror} ({WHERE})", err=True)
        return FAILED
    except Exception:
        return _broken()
    return status if isinstance(status, int) else OK


def _wants_json(arguments: Sequence[str]) -> bool:
    """Also where the command line is too wrong to be read; what follows `--` is a program's."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in ours


def _broken() -> int:
    """A bug of ours: shown whole, so that it can be reported."""
    sys.excepthook(*sys.exc_info())
    return BUG
