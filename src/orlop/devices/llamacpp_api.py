"""What an engine host offers beside OpenAI's dialect: slots, templates, tokens.

Server documentation: llama.cpp's `tools/server/README.md`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from yarl import URL

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, DeviceRefused, KernelError
from orlop.abi.ids import EngineName
from orlop.devices.server import Server
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.wire.openai import write_chat_request

T = TypeVar("T")

_ACTION_S: Final = 120.0
"""For a slot's action: it waits until the slot's own work has stopped."""


class Saved(Struct, frozen=True):
    """What was written."""

    n_saved: int
    n_written: int


class Restored(Struct, frozen=True):
    """What was read."""

    n_restored: int
    n_read: int


class Timings(Struct, frozen=True):
    """What the host says of one call's work, in tokens and milliseconds."""

    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0.0
    predicted_n: int = 0
    predicted_ms: float = 0.0


class _Completed(Struct, frozen=True):
    timings: Timings


class _Prompt(Struct, frozen=True):
    prompt: str


class _Tokens(Struct, frozen=True):
    tokens: tuple[int, ...]


class _Content(Struct, frozen=True):
    content: str


class HostApi:
    """One host.  Every method raises `DeviceFailed`, or `DeviceRefused` where the host says no."""

    def __init__(
        self, name: EngineName, url: str, key: str, *, clock: Clock, chance: Chance
    ) -> None:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._name = name
        self._server = Server(name, URL(url), clock=clock, chance=chance, headers=headers)

    async def start(self) -> None:
        """Before anything else."""
        await self._server.start()

    async def close(self) -> None:
        await self._server.close()

    async def save(self, slot: int, file: str) -> Saved:
        """Write a slot's context to `file`, a name in the host's slot folder."""
        return await self._ask(f"slots/{slot}?action=save", {"filename": file}, Saved)

    async def restore(self, slot: int, file: str) -> Restored:
        return await self._ask(f"slots/{slot}?action=restore", {"filename": file}, Restored)

    async def erase(self, slot: int) -> None:
        await self._ask(f"slots/{slot}?action=erase", {}, dict[str, object])

    async def probe(self, slot: int, prompt: Sequence[int], steps: int) -> Timings:
        """Compute this prompt and some tokens more, for the time that it takes."""
        wanted = {
            "prompt": list(prompt),
            "id_slot": slot,
            "n_predict": steps,
            "temperature": 0.0,
            "ignore_eos": True,
        }
        return (await self._ask("completion", wanted, _Completed)).timings

    async def prompt_tokens(self, call: Infer, model: str) -> tuple[int, ...]:
        """The token ids that this call begins with, as the host itself makes them."""
        match call.prompt:
            case str(text):
                return await self.tokens(text, special=True)
            case None:
                body = write_chat_request(call, model, stream=False)
                made = await self._send("apply-template", body, _Prompt)
                return await self.tokens(made.prompt, special=True)
            case ids:
                return ids

    async def tokens(self, text: str, *, special: bool) -> tuple[int, ...]:
        """special: text is a prompt, in which marks like `<|im_start|>` are tokens."""
        wanted = {"content": text, "add_special": special, "parse_special": special}
        return (await self._ask("tokenize", wanted, _Tokens)).tokens

    async def text(self, tokens: Sequence[int]) -> str:
        return (await self._ask("detokenize", {"tokens": list(tokens)}, _Content)).content

    async def _ask(self, path: str, wanted: Mapping[str, object], kind: type[T]) -> T:
        return await self._send(path, msgspec.json.encode(wanted), kind)

    async def _send(self, path: str, body: bytes, kind: type[T]) -> T:
        try:
            said = await self._server.look(path, _ACTION_S, method="POST", body=body)
            return msgspec.json.decode(said, type=kind)
        except DeviceRefused:
            raise
        except (KernelError, msgspec.DecodeError) as error:
            if isinstance(error, DeviceFailed) and error.__cause__ is None:
                # It answers, and says no: whatever its status, it is not gone.
                raise DeviceRefused(f"{self._name}: {path}: {error.message}") from error
            raise DeviceFailed(f"{self._name}: {path}: {error}") from error
