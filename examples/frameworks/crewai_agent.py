"""CrewAI: `python crewai_agent.py MODEL QUESTION…`."""

import sys

from crewai import LLM, Agent
from crewai.tools import tool

MODEL, *QUESTIONS = sys.argv[1:]


@tool("find_order")
def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


desk = Agent(
    role="desk",
    goal="find orders",
    backstory="You work at the support desk.",
    llm=LLM(model=MODEL, provider="openai"),
    tools=[find_order],
)
for question in QUESTIONS:
    print(desk.kickoff(question).raw, flush=True)
