"""Instructor, which asks for a typed answer: `python instructor_client.py MODEL QUESTION…`."""

import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel

MODEL, *QUESTIONS = sys.argv[1:]


class Order(BaseModel):
    order: int


client = instructor.from_openai(OpenAI())
for question in QUESTIONS:
    messages = [{"role": "user", "content": question}]
    print(client.create(model=MODEL, messages=messages, response_model=Order), flush=True)
