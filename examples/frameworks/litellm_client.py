"""LiteLLM: `python litellm_client.py MODEL QUESTION…`."""

import sys

import litellm

MODEL, *QUESTIONS = sys.argv[1:]
for question in QUESTIONS:
    messages = [{"role": "user", "content": question}]
    pieces = litellm.completion(model=f"openai/{MODEL}", messages=messages, stream=True)
    print("".join(piece.choices[0].delta.content or "" for piece in pieces), flush=True)
