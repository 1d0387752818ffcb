"""LangGraph's checkpoints in the kernel: its own conformance suite, and graphs that survive."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator
from operator import add
from typing import Annotated, TypedDict
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt
from live_kernel import LiveKernel

import orlop
from orlop.sdk.langgraph import OrlopSaver


class State(TypedDict):
    said: Annotated[list[str], add]


Graph = CompiledStateGraph[State, None, State, State]


def test_the_public_conformance_suite_passes_whole(kernel: LiveKernel) -> None:
    @checkpointer_test(name="OrlopSaver")
    async def savers() -> AsyncGenerator[BaseCheckpointSaver[int], None]:
        folder = f"/langgraph/conformance-{uuid4()}"
        yield OrlopSaver(orlop.connect_sync(home=kernel.home), folder=folder)

    report = asyncio.run(validate(savers))
    failures = [failure for result in report.results.values() for failure in result.failures or ()]
    assert not failures, "\n".join(map(str, failures))
    assert all(result.passed for result in report.results.values())
    assert len(report.results) == 8


def kill_kernel(kernel: LiveKernel) -> None:
    """SIGKILL; its supervisor starts the next."""
    os.kill(json.loads(kernel.orlop("info", "--json"))["os_pid"], signal.SIGKILL)


@pytest.mark.parametrize("killed", [False, True])
def test_a_graph_goes_on_after_an_interrupt_and_a_killed_kernel(
    kernel: LiveKernel, killed: bool
) -> None:
    ran: list[str] = []

    def first(state: State) -> State:
        ran.append("first")
        return {"said": ["first"]}

    def second(state: State) -> State:
        answer = interrupt("go on?")
        ran.append("second")
        return {"said": [str(answer)]}

    def build() -> Graph:
        graph = StateGraph(State)
        graph.add_node("first", first)
        graph.add_node("second", second)
        graph.add_edge(START, "first")
        graph.add_edge("first", "second")
        graph.add_edge("second", END)
        saver = OrlopSaver(orlop.connect_sync(home=kernel.home))
        return graph.compile(checkpointer=saver)

    config: RunnableConfig = {"configurable": {"thread_id": f"killed-{uuid4()}"}}
    stopped = build().invoke({"said": ["start"]}, config)
    assert stopped["__interrupt__"]
    if killed:
        kill_kernel(kernel)
    done = build().invoke(Command(resume="yes"), config)
    assert done["said"] == ["start", "first", "yes"]
    assert ran == ["first", "second"]


def journal_bytes(kernel: LiveKernel) -> int:
    """Of the database and its log, once that is copied into it as far as it goes."""
    files = (kernel.home / "journal.db", kernel.home / "journal.db-wal")
    return sum(file.stat().st_size for file in files if file.exists())


def test_a_conversation_that_grows_stores_what_is_new(kernel: LiveKernel) -> None:
    """200 steps of 500 bytes: stored whole at each, they would be 10 MB."""
    folder = f"/langgraph/grows-{uuid4()}"
    saver = OrlopSaver(orlop.connect_sync(home=kernel.home), folder=folder)

    def step(state: State) -> State:
        return {"said": [os.urandom(250).hex()]}

    def more(state: State) -> str:
        return "step" if len(state["said"]) < 200 else END

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", more)
    compiled = graph.compile(checkpointer=saver)
    config: RunnableConfig = {"configurable": {"thread_id": "one"}, "recursion_limit": 300}
    before = journal_bytes(kernel)
    compiled.invoke({"said": []}, config)
    grown = journal_bytes(kernel) - before
    with orlop.connect_sync(home=kernel.home) as system:
        rows = system.files.list(f"{folder}/one", deep=True)
    values = [row.size for row in rows if "/values/said/" in row.path]
    assert sum(values) > 10_000_000
    assert len(compiled.get_state(config).values["said"]) == 200
    assert grown < 2_500_000, f"{grown / 200:.0f} bytes a step"
