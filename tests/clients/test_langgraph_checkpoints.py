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


def test_a_fork_leaves_the_past_as_it_was(kernel: LiveKernel) -> None:
    """Both branches number their values alike."""

    def step(state: State) -> State:
        return {"said": [f"{len(state['said'])}"]}

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: "step" if len(state["said"]) < 6 else END)
    config: RunnableConfig = {"configurable": {"thread_id": f"fork-{uuid4()}"}}

    def build() -> Graph:
        saver = OrlopSaver(orlop.connect_sync(home=kernel.home))
        return graph.compile(checkpointer=saver)

    compiled = build()
    compiled.invoke({"said": ["main"]}, config)
    before = [(one.config, one.values) for one in compiled.get_state_history(config)]
    early = next(config for config, values in before if len(values.get("said", ())) == 3)
    forked = compiled.update_state(early, {"said": ["fork"]})
    done = compiled.invoke(None, forked)
    assert done["said"] == ["main", "1", "2", "fork", "4", "5"]
    assert [build().get_state(config).values for config, _ in before] == [it for _, it in before]
    assert build().get_state(config).values["said"] == done["said"]


def test_two_programs_that_go_on_with_one_thread_keep_their_own_lists(kernel: LiveKernel) -> None:
    """Neither list has an item of the other."""

    def step(state: State) -> State:
        return {"said": [f"step {len(state['said'])}"]}

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_edge("step", END)
    config: RunnableConfig = {"configurable": {"thread_id": f"two-{uuid4()}"}}
    one, two = (
        graph.compile(checkpointer=OrlopSaver(orlop.connect_sync(home=kernel.home)))
        for _ in range(2)
    )
    one.invoke({"said": ["first"]}, config)
    start = two.get_state(config).config
    left = one.invoke(None, one.update_state(start, {"said": ["left"]}, as_node=START))
    right = two.invoke(None, two.update_state(start, {"said": ["right"]}, as_node=START))
    assert left["said"] == ["first", "step 1", "left", "step 3"]
    assert right["said"] == ["first", "step 1", "right", "step 3"]
    said = [state.values.get("said", []) for state in one.get_state_history(config)]
    assert not any({"left", "right"} <= set(values) for values in said)
    assert left["said"] in said and right["said"] in said


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
        (values,) = [
            row.size
            for row in system.files.list(f"{folder}/one", deep=True)
            if row.path.endswith("/values/said")
        ]
    assert values > 100_000
    assert len(compiled.get_state(config).values["said"]) == 200
    assert grown < 1_600_000, f"{grown / 200:.0f} bytes a step"
