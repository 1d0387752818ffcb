"""A program of two dialects that fails in the middle of its first run."""

import sys
from pathlib import Path

from anthropic import Anthropic
from openai import OpenAI

failed = Path(sys.argv[1])
openai, claude = OpenAI(), Anthropic()
first = openai.responses.create(model="fake", input="hello")
print(first.to_json(indent=None), flush=True)
for event in openai.responses.create(
    model="fake", input="and then?", previous_response_id=first.id, stream=True
):
    print(event.to_json(indent=None), flush=True)
for event in claude.messages.create(
    model="fake",
    max_tokens=9,
    messages=[{"role": "user", "content": first.output_text}],
    stream=True,
):
    print(event.to_json(indent=None), flush=True)
if not failed.exists():
    failed.touch()
    sys.exit(1)
last = openai.chat.completions.create(
    model="fake", messages=[{"role": "user", "content": first.output_text}]
)
print(last.to_json(indent=None))
