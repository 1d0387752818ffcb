"""What an engine host offers beside OpenAI's dialect: slots, templates, tokens.

Server documentation: llama.cpp's `tools/server/README.md`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName
from orlop.abi.limits import ENGINE_CONNECT_S, ERROR_BYTES_MAX
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

    def __init__(self, name: EngineName, url: str, key: str) -> None:
        self._name = name
        self._url = url
        self._session = aiohttp.ClientSession(
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=_ACTION_S, sock_connect=ENGINE_CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

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
            async with self._session.post(f"{self._url}/{path}", data=body) as response:
                if response.status != 200:
                    said = (await response.content.read(ERROR_BYTES_MAX)).decode(errors="replace")
                    raise DeviceRefused(f"{self._name}: {path}: {response.status}: {said[:300]}")
                return msgspec.json.decode(await response.read(), type=kind)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            reason = str(error) or type(error).__name__
            raise DeviceFailed(f"{self._name}: {path}: {reason}") from error
