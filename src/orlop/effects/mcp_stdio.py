"""An MCP server that is a command: one message a line, on its standard input and output.

It runs under a warden, so it ends with the kernel.  Whatever it does, it costs no more than the
bounds below: it may hang (calls have deadlines), flood (it is ended), or say what nobody asked.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Raw

from orlop.abi.errors import DeadlineMissed, DeviceFailed, KernelError
from orlop.abi.limits import KILL_GRACE_S, MCP_UNASKED_MAX, TOOL_OUTPUT_BYTES_MAX
from orlop.effects.asking import Asker, ask
from orlop.effects.lifeline import Lifeline
from orlop.machine.tasks import TaskOwner
from orlop.wire import mcp

SAID_LINES_KEPT: Final = 5
"""Of what a server writes on its standard error, for the reason why it ended."""

SAID_LINE_BYTES_MAX: Final = 16_384


class StdioLink:
    """One run of a server's command.  `stirred`: its tools have changed, or it is gone."""

    def __init__(self, name: str, lifeline: Lifeline, tasks: TaskOwner) -> None:
        self.version = ""
        self.stirred = asyncio.Event()
        self.lost: KernelError | None = None
        self.asker: Asker | None = None
        self._name = name
        self._lifeline = lifeline
        self._tasks = tasks
        self._child: asyncio.subprocess.Process | None = None
        self._waiting: dict[int | str, asyncio.Future[mcp.Told]] = {}
        self._next_id = 0
        self._unasked = 0
        self._said: deque[str] = deque(maxlen=SAID_LINES_KEPT)
        self._reading: tuple[asyncio.Task[None], ...] = ()

    async def open(self, command: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
        """Raises `DeviceFailed`."""
        try:
            self._child = child = await asyncio.create_subprocess_exec(
                *self._lifeline.under(command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=cwd or None,
                env=env,
                pass_fds=self._lifeline.descriptors,
                start_new_session=True,
                limit=TOOL_OUTPUT_BYTES_MAX,
            )
        except OSError as error:
            raise DeviceFailed(f"{self._name} can't be started: {error}") from error
        self._reading = (
            self._tasks.start(self._read(child), f"mcp {self._name}"),
            self._tasks.start(self._listen(child), f"mcp {self._name} says"),
        )

    async def ask(self, method: str, params: Mapping[str, object], limit_s: float) -> Raw:
        """The result.  Raises `ToolFailed`, `DeviceFailed`, `DeadlineMissed`, and tells the server
        that nobody waits for its answer any more."""
        if self.lost is not None:
            raise self.lost
        self._next_id += 1
        id = self._next_id
        answer = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            async with asyncio.timeout(limit_s):
                await self._write(mcp.request(id, method, params, self.version))
                told = await answer
        except TimeoutError as error:
            self._give_up(id)
            raise DeadlineMissed(f"{self._name}: {method} took more than {limit_s:g} s") from error
        except asyncio.CancelledError:
            self._give_up(id)
            raise
        finally:
            self._waiting.pop(id, None)
        if told.error is not None:
            raise mcp.Refused(self._name, method, told.error)
        if not isinstance(told.result, Raw):
            raise DeviceFailed(f"{self._name} answered {method} with neither result nor error")
        return told.result

    async def tell(self, method: str) -> None:
        await self._write(mcp.notification(method, {}))

    async def close(self) -> None:
        """End the server with all that it has started."""
        self._end(DeviceFailed(f"{self._name} was ended"))
        child = self._child
        if child is None:
            return
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        child.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_GRACE_S):
                # What it still had to say is read to its end: only then are the pipes let go.
                for reading in self._reading:
                    reading.cancel()
                await asyncio.wait(self._reading)
                await _drain(child.stdout)
                await _drain(child.stderr)
                await child.wait()

    def _give_up(self, id: int) -> None:
        child = self._child
        if self.lost is not None or child is None or child.stdin is None:
            return
        if not child.stdin.is_closing():
            # Not waited for: its pipe may be full since it reads nothing.
            line = mcp.notification("notifications/cancelled", {"requestId": id})
            child.stdin.write(line + b"\n")

    async def _write(self, message: bytes) -> None:
        assert self._child is not None and self._child.stdin is not None
        if self.lost is not None or self._child.stdin.is_closing():
            raise await self._gone()
        try:
            self._child.stdin.write(message + b"\n")
            await self._child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise await self._gone() from error

    async def _gone(self) -> KernelError:
        """Why it reads no more: the pipe is closed before the end of what it said has been read."""
        if self.lost is None:
            await _ended(task for task in self._reading if task is not asyncio.current_task())
        return self.lost or DeviceFailed(f"{self._name} reads no more")

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        try:
            while line := await child.stdout.readline():
                await self._take(line)
            await child.wait()
            await _ended(self._reading[1:])  # Its last words are read beside.
            said = f": {' '.join(self._said)}" if self._said else ""
            self._end(DeviceFailed(f"{self._name} ended with status {child.returncode}{said}"))
        except ValueError:
            limit = "TOOL_OUTPUT_BYTES_MAX"
            self._end(DeviceFailed(f"{self._name} wrote a line of more than {limit} bytes"))
        except KernelError as error:
            self._end(error)

    async def _take(self, line: bytes) -> None:
        told = mcp.read(line)
        if told is not None and told.is_answer and told.id is not None:
            waiting = self._waiting.get(told.id)
            if waiting is not None and not waiting.done():
                self._unasked = 0
                waiting.set_result(told)
                return
        self._unasked += 1
        if self._unasked > MCP_UNASKED_MAX:
            raise DeviceFailed(
                f"{self._name} wrote {self._unasked} messages that nobody asked for "
                "(MCP_UNASKED_MAX)"
            )
        if told is None:
            return
        if told.method == "notifications/tools/list_changed":
            self.stirred.set()
        elif told.method == mcp.ELICIT and told.id is not None:
            self._tasks.start(self._elicit(told), f"mcp {self._name} asks")
        elif told.method and told.id is not None:
            await self._write(mcp.reply(told))

    async def _elicit(self, told: mcp.Told) -> None:
        """Put its question to a person, beside the reading of what else it says."""
        said = await ask(self.asker, self._name, mcp.elicitation(told.params))
        with contextlib.suppress(KernelError):
            await self._write(mcp.answered(told.id, said))

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        """Keep the end of what it says beside; a line that is too long is left out."""
        assert child.stderr is not None
        rest = b""
        while piece := await child.stderr.read(SAID_LINE_BYTES_MAX):
            *lines, rest = (rest + piece).split(b"\n")
            rest = rest[-SAID_LINE_BYTES_MAX:]
            for line in lines:
                if text := line.decode(errors="replace").strip():
                    self._said.append(text[:500])

    def _end(self, reason: KernelError) -> None:
        """All that wait hear why; nobody else may ask."""
        if self.lost is None:
            self.lost = reason
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(reason)
            self.stirred.set()


async def _ended(reading: Iterable[asyncio.Task[None]]) -> None:
    """Wait for them, but not for what somebody else keeps open."""
    if tasks := tuple(reading):
        await asyncio.wait(tasks, timeout=KILL_GRACE_S)


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass


def environment(own: Mapping[str, str], inherited: tuple[str, ...]) -> dict[str, str]:
    """Of the kernel's own variables, those that a tool may see; then its card's."""
    return {name: os.environ[name] for name in inherited if name in os.environ} | dict(own)
