"""The OpenAI Agents SDK as it comes (Responses): `python openai_agents.py MODEL QUESTION…`."""

import sys

from agents import Agent, Runner, function_tool, set_tracing_disabled

MODEL, *QUESTIONS = sys.argv[1:]
set_tracing_disabled(True)  # else it sends its traces to OpenAI


@function_tool
def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


desk = Agent(name="desk", instructions="You find orders.", model=MODEL, tools=[find_order])
for question in QUESTIONS:
    print(Runner.run_sync(desk, question).final_output, flush=True)
