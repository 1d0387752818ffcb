"""`orlop trace` as people see it."""

import click
import msgspec
from unit.shell.views import ended, view

from orlop.abi.admin import Trace
from orlop.shell.trace import drawn

START_NS = 1_790_000_000_000_000_000


def _call(**changes: object) -> dict[str, object]:
    call = {
        "call": "cal_1",
        "seq": 5,
        "kind": "infer",
        "what": "smollm2",
        "status": "ok",
        "incarnation": 1,
        "start_ns": START_NS + 500_000_000,
        "seconds": 1.25,
        "queue_s": 0.05,
        "prefill_s": 0.2,
        "decode_s": 1.0,
        "input_tokens": 800,
        "cached_tokens": 600,
        "output_tokens": 40,
        "cost": 1_000_000,
        "engine": "llamacpp",
    }
    return call | changes


def test_calls_and_children_come_in_the_order_of_time() -> None:
    child = {
        "process": ended(1, pid=8, name="kid", spawned_ns=START_NS + 1_000_000_000, cost=500_000),
        "calls": [_call(kind="call_tool", what="order", status="E2101", message="no such order")],
    }
    tree = {
        "process": ended(0, calls_replayed=1),
        "calls": [
            _call(start_ns=START_NS + 2_000_000_000, seconds=None, status="open", cost=0),
            _call(),
        ],
        "children": [child],
    }
    lines = [click.unstyle(line) for line in drawn(msgspec.convert(tree, Trace))]
    assert [line[:12] for line in lines[1:]] == [
        "├─ infer smo",
        "├─ kid (pid ",
        "│  └─ call_t",
        "└─ infer smo",
    ]
    assert "triage (pid 7)  exited 0  3.00 s  3 calls, 1 from the record" in lines[0]
    assert "$0.00092" in lines[0]
    assert "at +0.50 s  1.25 s (queue 0.05, prefill 0.20, decode 1.00)" in lines[1]
    assert "800 (600 cached) → 40 tokens  $0.001  on llamacpp" in lines[1]
    assert lines[3].endswith("E2101: no such order")
    assert "not finished" in lines[4]
    assert [line.endswith("  cal_1") for line in drawn(msgspec.convert(tree, Trace), ids=True)] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_a_later_incarnation_says_that_its_time_is_its_own() -> None:
    tree = {"process": ended(0, incarnation=3, mode="replay"), "calls": []}
    (line,) = (click.unstyle(line) for line in drawn(msgspec.convert(tree, Trace)))
    assert "exited 0  3.00 s in incarnation 3 (replay)  " in line


def test_a_process_without_calls_is_one_line() -> None:
    assert len(list(drawn(msgspec.convert({"process": view(), "calls": []}, Trace)))) == 1


def test_a_refused_call_is_refused_and_an_error_of_many_lines_is_one() -> None:
    refused = _call(seconds=None, status="E1104", message="refused by few-refunds")
    failed = _call(
        status="E2101", message="score ended with status 1: Traceback\n  x\n  y: \x1b[2J"
    )
    tree = {"process": ended(0), "calls": [refused, failed], "children": []}
    lines = [click.unstyle(line) for line in drawn(msgspec.convert(tree, Trace))]
    assert len(lines) == 3
    assert "refused  " in lines[1] and "not finished" not in lines[1]
    assert lines[2].endswith("E2101: score ended with status 1: Traceback …   y: \\x1b[2J")
