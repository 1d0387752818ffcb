"""Anthropic's client and nothing else: `python plain_anthropic.py MODEL QUESTION…`."""

import sys

from anthropic import Anthropic

MODEL, *QUESTIONS = sys.argv[1:]
TOOL = {
    "name": "find_order",
    "description": "Where an order is.",
    "input_schema": {
        "type": "object",
        "properties": {"order": {"type": "integer"}},
        "required": ["order"],
    },
}


def find_order(order):
    return f"order {order} is in Graz"


client = Anthropic()
for question in QUESTIONS:
    messages = [{"role": "user", "content": question}]
    while True:
        answer = client.messages.create(
            model=MODEL, max_tokens=200, messages=messages, tools=[TOOL]
        )
        messages.append({"role": "assistant", "content": answer.content})
        if answer.stop_reason != "tool_use":
            break
        results = [
            {"type": "tool_result", "tool_use_id": part.id, "content": find_order(**part.input)}
            for part in answer.content
            if part.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})
    print("".join(part.text for part in answer.content if part.type == "text"), flush=True)
