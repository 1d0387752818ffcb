"""A paid provider with books of its own: what it bills, it bills when a call arrives.

`python -m bench.billing_provider PORT`.  A call that nobody waits for any more is billed all the
same, so the bill at `/bill` is what was really spent, whatever a kernel remembers.  Calls are told
apart by the first word of their prompt.
"""

import asyncio
import hashlib
import json
import sys
from collections import defaultdict

from aiohttp import web

SLOWEST_S = 0.15


class Provider:
    def __init__(self) -> None:
        self._bills: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = body["messages"][-1]["content"]
        most = body.get("max_tokens") or body.get("max_completion_tokens") or 32_768
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32
        given, written = len(text.encode()) // 3 + 8, max(1, round(most * drawn))
        bill = self._bills[text.split()[0]]
        bill[0], bill[1], bill[2] = bill[0] + 1, bill[1] + given, bill[2] + written
        await asyncio.sleep(SLOWEST_S * drawn)
        message = {"role": "assistant", "content": "word " * min(written, 8)}
        return web.json_response(
            {
                "id": "chatcmpl-billed",
                "object": "chat.completion",
                "created": 1,
                "model": "billed",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": given,
                    "completion_tokens": written,
                    "total_tokens": given + written,
                },
            }
        )

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "billed", "object": "model"}]})

    async def bill(self, request: web.Request) -> web.Response:
        return web.Response(text=json.dumps(self._bills), content_type="application/json")


def main(port: int) -> None:
    provider, app = Provider(), web.Application()
    app.router.add_post("/v1/chat/completions", provider.chat)
    app.router.add_get("/v1/models", provider.models)
    app.router.add_get("/bill", provider.bill)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
