"""A program as anybody would write it: a LangGraph graph with a tool, streamed."""

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


model = ChatOpenAI(model="fake").bind_tools([find_order])
graph = StateGraph(MessagesState)
graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
graph.add_node("tools", ToolNode([find_order]))
graph.add_edge(START, "model")
graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
graph.add_edge("tools", "model")
asked = {"messages": [("user", 'where? [[tool find_order {"order": 7}]]')]}
for chunk, _ in graph.compile().stream(asked, stream_mode="messages"):
    print(chunk.type, chunk.text)
