"""A program as anybody would write it: Anthropic's client, one tool."""

from anthropic import Anthropic

client = Anthropic()
messages = [{"role": "user", "content": 'where? [[tool find_order {"order": 7}]]'}]
tools = [{"name": "find_order", "input_schema": {"type": "object"}}]
answer = client.messages.create(model="fake", max_tokens=50, messages=messages, tools=tools)
print(answer.to_json())
messages += [
    {"role": "assistant", "content": answer.content},
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": use.id, "content": f"{use.input} is in Graz"}
            for use in answer.content
            if use.type == "tool_use"
        ],
    },
]
stream = client.messages.create(
    model="fake", max_tokens=50, messages=messages, tools=tools, stream=True
)
for event in stream:
    print(event.to_json(indent=None))
