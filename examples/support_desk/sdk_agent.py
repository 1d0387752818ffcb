"""One ticket, handled by an agent that uses Orlop's SDK: `orlop run -- python sdk_agent.py 07`."""

import sys

import msgspec

import desk
import orlop


@orlop.agent
async def handle(kernel: orlop.Kernel, id: str) -> str:
    """Classify, look up, decide, draft, write down, say how it ended."""
    ticket = desk.ticket(id)
    found = await kernel.embed(ticket.text, model=desk.EMBED_MODEL)
    label = desk.classify(found.vectors[0], desk.learned())

    answer = await kernel.call_tool(
        "shop.lookup", order=desk.order_number(ticket.text), email=ticket.email
    )
    order = msgspec.convert(answer, desk.Order)
    decision = desk.decide(label, order)

    draft = kernel.stream(
        desk.prompt(ticket, order, decision),
        model=desk.chat_model(),
        system=desk.SYSTEM,
        output_tokens_max=desk.REPLY_TOKENS,
        temperature=0.0,
    )
    async for piece in draft:
        print(piece.text, end="", flush=True)

    await kernel.call_tool(
        "shop.decide",
        order=order.order,
        label=label,
        verdict=decision.verdict,
        reply=draft.completion.text(),
    )
    await kernel.outcome("succeeded", f"{label}: {decision.verdict}")
    return decision.verdict


if __name__ == "__main__":
    handle.run(sys.argv[1])
