"""OpenAI's client, unchanged: `orlop run -- python examples/unchanged_openai.py`.

The same script talks to OpenAI, to vLLM, or to the kernel; only its environment differs.
"""

from openai import OpenAI

pieces = OpenAI().chat.completions.create(
    model="smollm2",
    messages=[{"role": "user", "content": "Name three uses of a paper clip."}],
    max_tokens=60,
    stream=True,
)
for piece in pieces:
    print(piece.choices[0].delta.content or "" if piece.choices else "", end="", flush=True)
print()
