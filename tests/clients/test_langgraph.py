"""LangGraph with ChatOpenAI, unmodified: on chat completions, and on the Responses API."""

import asyncio
from collections.abc import Hashable

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from live_kernel import LiveKernel

ASKS_FOR_TOOL = 'where? [[tool find_order {"order": 7}]]'
Graph = CompiledStateGraph[MessagesState, None, MessagesState, MessagesState]


@tool
def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


def next_node(state: MessagesState) -> Hashable:
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


def graph(responses: bool) -> Graph:
    """The textbook agent: a model, its tools, and back."""
    model = ChatOpenAI(model="fake", use_responses_api=responses).bind_tools([find_order])

    def ask(state: MessagesState) -> dict[str, list[object]]:
        return {"messages": [model.invoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("model", ask)
    built.add_node("tools", ToolNode([find_order]))
    built.add_edge(START, "model")
    built.add_conditional_edges("model", next_node)
    built.add_edge("tools", "model")
    return built.compile()


@pytest.mark.parametrize("responses", [False, True])
def test_a_graph_calls_its_tool_and_answers(kernel: LiveKernel, responses: bool) -> None:
    asked: MessagesState = {"messages": [HumanMessage(ASKS_FOR_TOOL)]}
    messages = graph(responses).invoke(asked)["messages"]
    assert [type(message) for message in messages] == [
        HumanMessage,
        AIMessage,
        ToolMessage,
        AIMessage,
    ]
    assert messages[2].content == "order 7 is in Graz"
    assert messages[3].text


@pytest.mark.parametrize("responses", [False, True])
def test_a_streamed_graph_gives_its_words_as_they_come(kernel: LiveKernel, responses: bool) -> None:
    async def scenario() -> list[str]:
        words = []
        asked: MessagesState = {"messages": [HumanMessage("[[say one two three]]")]}
        async for chunk, _ in graph(responses).astream(asked, stream_mode="messages"):
            if isinstance(chunk, AIMessageChunk) and chunk.text:
                words.append(str(chunk.text))
        return words

    assert asyncio.run(scenario()) == ["one", " two", " three"]


def test_embeddings_for_a_vector_store(kernel: LiveKernel) -> None:
    made = OpenAIEmbeddings(model="fake-embed", check_embedding_ctx_length=False)
    assert len(made.embed_query("the late order")) == 16
