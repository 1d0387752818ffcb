"""A provider of models that enforces requests and tokens a minute and has a prompt cache.

`python -m bench.mock_provider PORT REQUESTS TOKENS`: a process of its own that speaks Anthropic's
Messages API.  As documented there: both limits are buckets that refill all the time; what is read
from the cache does not count; what is left is told in whole thousands; a prompt is cached where it
is marked (`cache_control`), from a smallest size on, up to the mark, for five minutes after its
last use, and is looked for at the last twenty blocks; 429 names `retry-after` in whole seconds.
A bucket holds BURST_S seconds' worth: a minute's allowance can't be spent in one second.
Its limit on output (a fifth of the input's, as documented) is left out: nobody here comes near it.
`GET /stats` tells what was served.  Its time is its event loop's, so it may be virtual.
"""

import asyncio
import hashlib
import json
import math
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

from aiohttp import web

BURST_S = 6.0
CACHE_S = 300.0
CACHED_TOKENS_MIN = 64
"""4,096 at most, as documented, shrunk as the tokens of `bench.cloud_limits` are."""
BLOCKS_LOOKED_AT = 20
CHARS_PER_TOKEN = 4
FIRST_TOKEN_S = 0.05
PREFILL_S = 5e-6
DECODE_S = 0.002


_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When its clock began, as its headers tell it."""


def now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Bucket:
    """Full at first."""

    limit: float
    level: float = 0.0
    seen_s: float | None = None

    def fill(self) -> None:
        most, before_s, self.seen_s = self.limit / 60 * BURST_S, self.seen_s, now_s()
        gained = most if before_s is None else (self.seen_s - before_s) * self.limit / 60
        self.level = min(most, self.level + gained)

    def wait_s(self, amount: float) -> float:
        """More than the bucket holds fits when it is full."""
        most = self.limit / 60 * BURST_S
        return max(0.0, (min(amount, most) - self.level) / self.limit * 60)

    def reset(self) -> str:
        """When it will be full, in whole seconds."""
        missing = self.limit / 60 * BURST_S - self.level
        then = _EPOCH + timedelta(seconds=now_s() + missing / self.limit * 60)
        return then.isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Provider:
    requests: Bucket
    tokens: Bucket
    cache: dict[bytes, tuple[int, float]] = field(default_factory=dict)
    """Digest of a prefix to its tokens, and until when."""
    served: int = 0
    refused: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0

    def prefixes(self, body: dict[str, object]) -> list[tuple[bytes, int]]:
        """After the system prompt and after each message: the digest and the tokens so far."""
        found = []
        digest, size = hashlib.sha256(), 0
        turns = body["messages"]
        assert isinstance(turns, list)
        for part in (body.get("system"), body.get("tools"), *turns):
            text = json.dumps(_unmarked(part))
            digest.update(text.encode())
            size += len(text)
            found.append((digest.digest(), size // CHARS_PER_TOKEN))
        return found

    def cached(self, prefixes: list[tuple[bytes, int]]) -> int:
        for digest, tokens in reversed(prefixes[-BLOCKS_LOOKED_AT:]):
            held = self.cache.get(digest)
            if held is not None and held[1] > now_s():
                self.cache[digest] = (tokens, now_s() + CACHE_S)
                return tokens
        return 0

    async def answer(self, raw: bytes) -> Reply:
        body: dict[str, object] = json.loads(raw)
        prefixes = self.prefixes(body)
        total = prefixes[-1][1]
        cached = self.cached(prefixes)
        fresh = total - cached
        for bucket in (self.requests, self.tokens):
            bucket.fill()
        wait_s = max(self.requests.wait_s(1), self.tokens.wait_s(fresh))
        if wait_s > 0:
            self.refused += 1
            told = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
            headers = {**self._headers(), "retry-after": str(math.ceil(wait_s))}
            return Reply(429, headers, json.dumps(told).encode())
        self.requests.level -= 1
        self.tokens.level -= fresh
        self.served += 1
        self.input_tokens += total
        self.cached_tokens += cached
        limit = int(str(body["max_tokens"]))
        await asyncio.sleep(FIRST_TOKEN_S + fresh * PREFILL_S + limit * DECODE_S)
        is_kept = b'"cache_control":' in raw and total >= CACHED_TOKENS_MIN
        if is_kept:
            self.cache[prefixes[-1][0]] = (total, now_s() + CACHE_S)
        made = _answer(limit, fresh, cached, is_kept)
        return Reply(200, self._headers(), json.dumps(made).encode())

    def stats(self) -> dict[str, int]:
        names = ("served", "refused", "input_tokens", "cached_tokens")
        return {name: getattr(self, name) for name in names}

    def _headers(self) -> dict[str, str]:
        self.requests.fill()
        self.tokens.fill()
        now = _EPOCH + timedelta(seconds=now_s())
        return {
            "date": format_datetime(now.replace(microsecond=0), usegmt=True),
            "content-type": "application/json",
            "anthropic-ratelimit-requests-limit": str(int(self.requests.limit)),
            "anthropic-ratelimit-requests-remaining": str(int(max(0, self.requests.level))),
            "anthropic-ratelimit-requests-reset": self.requests.reset(),
            "anthropic-ratelimit-input-tokens-limit": str(int(self.tokens.limit)),
            "anthropic-ratelimit-input-tokens-remaining": str(_rounded(self.tokens.level)),
            "anthropic-ratelimit-input-tokens-reset": self.tokens.reset(),
        }


def _unmarked(part: object) -> object:
    """Marks are no part of what is cached, and one text is a text however it is wrapped."""
    if isinstance(part, dict):
        part = {name: _unmarked(held) for name, held in part.items() if name != "cache_control"}
        return part["text"] if part.get("type") == "text" and len(part) == 2 else part
    if isinstance(part, list):
        parts = [_unmarked(each) for each in part]
        return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else parts
    return part


def _rounded(tokens: float) -> int:
    return max(0, round(tokens / 1_000) * 1_000)


def _answer(tokens: int, fresh: int, cached: int, is_kept: bool) -> dict[str, object]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "content": [{"type": "text", "text": "done" * tokens}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0 if is_kept else fresh,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": fresh if is_kept else 0,
            "output_tokens": tokens,
        },
    }


def main() -> None:
    port, requests, tokens = (int(given) for given in sys.argv[1:4])
    provider = Provider(Bucket(requests), Bucket(tokens))

    async def messages(request: web.Request) -> web.StreamResponse:
        reply = await provider.answer(await request.read())
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)

    async def models(request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"type": "model", "id": "mock"}]})

    async def stats(request: web.Request) -> web.StreamResponse:
        return web.json_response(provider.stats())

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/messages", messages)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/stats", stats)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main()
