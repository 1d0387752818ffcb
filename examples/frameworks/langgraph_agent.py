"""LangChain's agent, a LangGraph: `python langgraph_agent.py MODEL QUESTION…`."""

import sys

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

MODEL, *QUESTIONS = sys.argv[1:]


def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


agent = create_agent(ChatOpenAI(model=MODEL), [find_order])
for question in QUESTIONS:
    asked = {"messages": [("user", question)]}
    print(agent.invoke(asked)["messages"][-1].content, flush=True)
