"""One ticket, handled by a script of OpenAI's own client: `orlop run -- python plain_agent.py 08`.

It imports nothing of Orlop.  Its models are wherever OPENAI_BASE_URL says.  OpenAI's API has no
way to *execute* a tool, so for that it posts to the kernel's HTTP API, with the same key.
"""

import os
import sys
from collections.abc import Mapping

import httpx
import msgspec
from openai import OpenAI

import desk

CALL_S = 600.0
"""How long a tool may take, waiting included."""


def call_tool(name: str, arguments: Mapping[str, object]) -> object:
    """What a tool of the kernel says.  Raises what httpx raises, and the script ends."""
    kernel = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    reply = httpx.post(
        f"{kernel}/orlop/v1/calls",
        json={"type": "call_tool", "tool": name, "arguments": arguments},
        headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
        timeout=CALL_S,
    )
    reply.raise_for_status()
    return msgspec.json.decode(reply.content, type=dict[str, object])["value"]


def draft(client: OpenAI, prompt: str) -> str:
    """Asked for in one piece; the SDK agents stream theirs, for the kernel must keep both."""
    answer = client.chat.completions.create(
        model=desk.chat_model(),
        messages=[{"role": "system", "content": desk.SYSTEM}, {"role": "user", "content": prompt}],
        max_tokens=desk.REPLY_TOKENS,
        temperature=0.0,
    )
    return answer.choices[0].message.content or ""


def streamed_draft(client: OpenAI, prompt: str) -> str:
    """The same, in pieces."""
    pieces = client.chat.completions.create(
        model=desk.chat_model(),
        messages=[{"role": "system", "content": desk.SYSTEM}, {"role": "user", "content": prompt}],
        max_tokens=desk.REPLY_TOKENS,
        temperature=0.0,
        stream=True,
    )
    return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


def main(id: str) -> None:
    ticket = desk.ticket(id)
    client = OpenAI()
    found = client.embeddings.create(model=desk.EMBED_MODEL, input=ticket.text)
    label = desk.classify(found.data[0].embedding, desk.learned())

    named = {"order": desk.order_number(ticket.text), "email": ticket.email}
    order = msgspec.convert(call_tool("shop.lookup", named), desk.Order)
    decision = desk.decide(label, order)

    write = streamed_draft if int(id) % 4 == 0 else draft
    reply = write(client, desk.prompt(ticket, order, decision))

    written = {"order": order.order, "label": label, "verdict": decision.verdict, "reply": reply}
    call_tool("shop.decide", written)
    print(f"{label}: {decision.verdict}")


if __name__ == "__main__":
    main(sys.argv[1])
