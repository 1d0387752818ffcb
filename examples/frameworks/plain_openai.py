"""OpenAI's client and nothing else: `python plain_openai.py MODEL QUESTION…`."""

import json
import sys

from openai import OpenAI

MODEL, *QUESTIONS = sys.argv[1:]
TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Where an order is.",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "integer"}},
            "required": ["order"],
        },
    },
}


def find_order(order):
    return f"order {order} is in Graz"


client = OpenAI()
for question in QUESTIONS:
    messages = [{"role": "user", "content": question}]
    while True:
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
        said = answer.choices[0].message
        messages.append(said.model_dump(exclude_none=True))
        if not said.tool_calls:
            break
        for call in said.tool_calls:
            found = find_order(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": found})
    print(said.content, flush=True)
