"""A program as anybody would write it: OpenAI's client, chat completions, one tool."""

import json

from openai import OpenAI

client = OpenAI()
messages = [{"role": "user", "content": 'where? [[tool find_order {"order": 7}]]'}]
tools = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]
answer = client.chat.completions.create(model="fake", messages=messages, tools=tools)
message = answer.choices[0].message
for use in message.tool_calls:
    order = json.loads(use.function.arguments)["order"]
    messages += [
        message,
        {"role": "tool", "tool_call_id": use.id, "content": f"order {order} is in Graz"},
    ]
print(answer.to_json())
stream = client.chat.completions.create(
    model="fake", messages=messages, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    print(chunk.to_json(indent=None))
