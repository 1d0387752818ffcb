"""Every error a caller may see, as one tree, named by what the caller can do about it.

Each class has a stable code (`orlop explain E1101`), says whose fault it is, its HTTP status, and
whether the same call may succeed later.  Messages say what was wrong, where, and what to do.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

Fault = Literal["caller", "kernel", "device", "operator"]


class KernelError(Exception):
    """The root; never raised itself."""

    code: ClassVar[str] = "E0000"
    fault: ClassVar[Fault] = "kernel"
    http_status: ClassVar[int] = 500
    retry: ClassVar[bool] = False
    fix: ClassVar[str] = ""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class BadCall(KernelError):
    """The call itself is wrong: malformed JSON, a wrong type, a value out of range."""

    code = "E1001"
    fault: ClassVar[Fault] = "caller"
    http_status = 400
    fix = "Correct the field that the message names; sending the same again fails again."


class TooLarge(BadCall):
    """The call or its answer is larger than a limit allows."""

    code = "E1002"
    http_status = 413
    fix = "Send less at once; the message names the limit."


class Unauthenticated(KernelError):
    """No key, or one that this kernel does not know."""

    code = "E1101"
    fault: ClassVar[Fault] = "caller"
    http_status = 401
    fix = "Start the program with `orlop run`, or make a key with `orlop key create`."


class TokenRefused(Unauthenticated):
    """A token or key of this kernel's that has expired, was revoked, or claims more than it may."""

    code = "E1105"
    fix = "The message names the rule; `orlop token show` tells what a token says."


class Denied(KernelError):
    """The caller is known and may not do this."""

    code = "E1102"
    fault: ClassVar[Fault] = "caller"
    http_status = 403
    fix = "Ask for the right that the message names, or use the operator's key."


class NotFound(KernelError):
    """No such model, tool, process, schedule or route."""

    code = "E1201"
    fault: ClassVar[Fault] = "caller"
    http_status = 404
    fix = "Check the name.  Where such things are listed, the message says by which command."


class WrongMethod(NotFound):
    """The route exists, but not with this HTTP method."""

    code = "E1206"
    http_status = 405
    fix = "Use a method that the message names; `GET /openapi.json` lists every route."


class NoSuchDevice(NotFound):
    """No device meets the claim, whatever its load: the message names the nearest."""

    code = "E1207"
    fix = "Ask for less, or describe your devices in `[devices.NAME]`; `orlop devices` lists them."


class NotApproved(Denied):
    """A person has not agreed to this call of a tool, or nobody has answered in time."""

    code = "E1103"
    fix = "The message says who and why; a call with other arguments is asked about anew."


class RuleForbids(Denied):
    """A rule of the policy forbids the call, or none permits it."""

    code = "E1104"
    fix = "`orlop policy why CALL` shows the rule and what it looked at; `orlop policy show` all."


class Observed(Denied):
    """An agent is only observed with this tool: the call was written down, and not made."""

    code = "E1106"
    fix = "Go on without it; `orlop autonomy why AGENT TOOL` says what moves the agent up."


class ToolBarred(NotFound):
    """A tool is there and must not be called: its server has changed it, or it can't be used."""

    code = "E1208"
    http_status = 409
    fix = "Look with `orlop tools show NAME`; if it is right, agree with `orlop tools trust NAME`."


class Conflict(KernelError):
    """What is asked for does not fit the present state."""

    code = "E1202"
    fault: ClassVar[Fault] = "caller"
    http_status = 409
    fix = "The message says what stands in the way: change that, or ask for something else."


class Fenced(Conflict):
    """A newer incarnation of this process runs; this copy must end."""

    code = "E1203"
    fix = "End this copy of the program: `orlop resume` or a restart has started another."


class Diverged(Conflict):
    """A resumed or replayed program made a call that its record does not hold."""

    code = "E1204"
    fix = "Make the program deterministic between calls, or resume with `--on-divergence continue`."


class EffectUnknown(Conflict):
    """A tool call was cut off, and whether its effect happened cannot be known from here."""

    code = "E1205"
    fix = "Look in the system that the tool changes; if nothing happened, call with another `key`."


class Exhausted(KernelError):
    """A limit is reached; the message names it."""

    code = "E1301"
    fault: ClassVar[Fault] = "caller"
    http_status = 429
    retry = True
    fix = "Wait as long as `Retry-After` says, or raise the limit that the message names."


class BudgetSpent(Exhausted):
    """A budget of calls, tokens, money or seconds has too little left for this call."""

    code = "E1302"
    retry = False
    fix = (
        "`orlop budget` shows all; wait until it refills where it does, or give more with "
        "`orlop budget set` or `orlop resume PID --budget …`."
    )


class BudgetHeld(Exhausted):
    """Enough is left, but others hold it: calls in flight, or what undoing a saga may take.

    For what model calls hold it was waited until this call's own deadline.
    """

    code = "E1303"
    fix = "Ask again when one has ended; name a smaller output maximum, so that each holds less."


class RateReached(Exhausted):
    """An account has made as many calls, or used as many tokens, as it may in a minute."""

    code = "E1304"
    fix = "Wait as long as `Retry-After` says; `orlop budget set --calls-per-minute` changes it."


class TooLittleTime(Exhausted):
    """The answer takes longer than the call's deadline allows, though nobody were before it."""

    code = "E1306"
    retry = False
    fix = "Allow more time (`deadline_s`), a shorter answer, or a ladder with a faster model."


class Unpriced(KernelError):
    """A call costs money, its budget is in money, and nobody has said what it costs."""

    code = "E1305"
    fault: ClassVar[Fault] = "operator"
    http_status = 403
    fix = "Say what the model costs in `[models.prices.NAME]` of orlop.toml, then start again."


class NotAnswered(KernelError):
    """Nobody has answered a question in the time that its agent gave."""

    code = "E1403"
    fault: ClassVar[Fault] = "operator"
    http_status = 504
    fix = "Ask again with more time, or go on without an answer; `orlop approvals` lists all."


class DeadlineMissed(KernelError):
    """The call took longer than its deadline."""

    code = "E1401"
    fault: ClassVar[Fault] = "kernel"
    http_status = 504
    retry = True
    fix = "Allow more time, a shorter answer, or another latency class."


class Killed(KernelError):
    """The call's process was killed, or its client left."""

    code = "E1402"
    fault: ClassVar[Fault] = "caller"
    http_status = 499
    fix = "`orlop trace PID` shows who ended it; `orlop resume PID` continues the process."


class DeviceFailed(KernelError):
    """An engine or a tool did not answer, or answered nonsense."""

    code = "E2001"
    fault: ClassVar[Fault] = "device"
    http_status = 502
    retry = True
    fix = "`orlop devices` shows its health; the message names the device and what it said."


class DeviceBusy(DeviceFailed):
    """An engine says that it is overloaded or rate limited."""

    code = "E2002"
    http_status = 429
    fix = "Wait as long as `Retry-After` says; add an engine or slots if it happens often."


class DeviceRefused(KernelError):
    """An engine understood the call and refused it, as it would each time."""

    code = "E2003"
    fault: ClassVar[Fault] = "caller"
    http_status = 400
    fix = "The message is the engine's own: change what it names."


class DoesNotFit(DeviceRefused):
    """A model needs more memory than any device that could run it has for models."""

    code = "E2004"
    fault: ClassVar[Fault] = "operator"
    fix = "Pull a smaller model or one of fewer bits, or allow more RAM with `[models] ram_bytes`."


class ToolFailed(DeviceFailed):
    """A tool ran and ended in an error."""

    code = "E2101"
    retry = False
    fix = "The message holds the end of what the tool printed."


class ResultWrong(DeviceFailed):
    """A tool ran, and what it said breaks the schema of its own card.  It may have acted."""

    code = "E2102"
    retry = False
    fix = "The message names the field: correct the tool, or `results` on its card."


class NotReady(KernelError):
    """The kernel is starting, stopping, or waits for something it needs."""

    code = "E3001"
    fault: ClassVar[Fault] = "kernel"
    http_status = 503
    retry = True
    fix = "Wait as long as `Retry-After` says; `/ready` tells what is missing."


class Interrupted(NotReady):
    """The kernel was lost or stopped while this call ran; whether it finished is not known."""

    code = "E3002"
    fix = "Make the call again: the process that made it has it run again, and its tools are asked."


class NoKernel(NotReady):
    """Nothing answers where the kernel should be."""

    code = "E3003"
    fault: ClassVar[Fault] = "operator"
    fix = "Start one with `orlop up -d`, or point ORLOP_HOME or ORLOP_URL at the one that runs."


class JournalStopped(NotReady):
    """The journal can't be written: a full disk, a failed fsync, a damaged file.

    The kernel admits no more calls, stays readable, and says why.
    """

    code = "E3101"
    fault: ClassVar[Fault] = "operator"
    fix = (
        "The message names the cause.  A disk wants room or repair, then `orlop down` and "
        "`orlop up`; a database is looked for until it is back."
    )


class JournalAway(JournalStopped):
    """The database that holds the journal can't be reached, or another kernel holds the journal.

    The kernel looks again every two seconds, and goes on by itself.
    """

    code = "E3103"
    fix = (
        "Start the database, or end the other kernel; nothing else needs a restart.  Where the "
        "place is wrong, mend `[journal] url` in orlop.toml, then `orlop down` and `orlop up`."
    )


class JournalDamaged(JournalStopped):
    """What is on disk is not what was acknowledged: events are lost or altered."""

    code = "E3102"
    retry = False
    fix = (
        "`orlop journal verify` names the first bad event or the lost range; restore a backup, "
        "or `orlop journal accept-loss`."
    )


class Misconfigured(KernelError):
    """`orlop.toml`, a flag or the environment is wrong; nothing was started."""

    code = "E3201"
    fault: ClassVar[Fault] = "operator"
    http_status = 500
    fix = "Correct what the message names; `docs/settings.md` lists every setting."


class PullFailed(KernelError):
    """A model could not be brought: no network, a wrong digest, a full disk."""

    code = "E3202"
    fault = "operator"
    http_status = 502
    retry = True
    fix = "Correct what the message names, then `orlop pull` again: what is already here is kept."


class Broken(KernelError):
    """We have a bug.  This call failed; the kernel goes on."""

    code = "E9001"
    fault: ClassVar[Fault] = "kernel"
    http_status = 500
    fix = "Report it with the log line that names this call."


def a_bug(what: str, bug: Exception) -> Broken:
    """What callers are told of it: its kind.  The rest may hold their data, and is in the log."""
    return Broken(f"a bug in {what} ({type(bug).__name__})")


def tree(root: type[KernelError] = KernelError) -> Iterator[type[KernelError]]:
    """Every class below `root`, parents first."""
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


BY_CODE = {error.code: error for error in tree()}


def from_code(code: str, message: str, retry_after_s: float | None = None) -> KernelError:
    """The error that `code` names; an unknown code (a newer kernel's) becomes `Broken`."""
    return BY_CODE.get(code, Broken)(message, retry_after_s=retry_after_s)
