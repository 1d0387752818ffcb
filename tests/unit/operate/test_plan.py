"""`orlop plan`: traces, fleets, the loop in virtual time, and what the command says."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orlop.abi.errors import Misconfigured
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.operate.plan import fleet as fleets
from orlop.operate.plan import trace
from orlop.operate.plan.alone import alone_s
from orlop.operate.plan.kernel import KernelDispatcher
from orlop.operate.plan.passthrough import Passthrough
from orlop.operate.plan.predict import policies, predict
from orlop.operate.plan.replay import Dispatcher, Fleet, Host, Outcome, Replay
from orlop.operate.plan.tasks import Arrival, Step, Task, scaled
from orlop.sched.config import SchedulerConfig
from orlop.shell.commands import run

SPEED = Linear(decode_a_s=0.02, decode_c_s=1e-7, prefill_a_s=0.01, prefill_b_s=1e-4)
FLEET = """\
[engines.big]
model = "some-32b"
copies = 2
memory_gb = 80
model_gb = 60
kv_bytes_per_token = 262144
decode_ms = 20
prefill_tokens_s = 10000
price_hour = 2.5

[slo]
first_token_s = 5
"""


def agent(name: str, calls: int, context: int = 4_000, gap_s: float = 5.0) -> Task:
    steps, held = [], context
    for number in range(calls):
        steps.append(
            Step(
                prompt=held + 300,
                output=100,
                prefix=held if number else 0,
                gap_s=gap_s if number else 0.0,
            )
        )
        held += 400
    return Task(name=name, steps=tuple(steps))


def host(name: str = "gpu", kv_tokens: int = 60_000, **more: int) -> Host:
    capacity = Capacity(slots=32, kv_tokens=kv_tokens, speed=SPEED, continues=True)
    return Host(name=name, capacity=capacity, **more)


def replayed(hosts: list[Host], tasks: list[Task], every_s: float, *, kernel: bool) -> Outcome:
    fleet = Fleet.of(hosts)
    chosen: Dispatcher = (
        KernelDispatcher(fleet, SchedulerConfig()) if kernel else Passthrough(fleet)
    )
    arrivals = [Arrival(at_s=every_s * n, task=task) for n, task in enumerate(tasks)]
    return Replay(fleet, chosen, arrivals).run()


# The loop.


@pytest.mark.parametrize("kernel", [False, True])
def test_a_task_alone_takes_what_it_takes_alone(kernel: bool) -> None:
    task = agent("a", 5)
    outcome = replayed([host()], [task], 1.0, kernel=kernel)
    assert outcome.jobs_s == [pytest.approx(alone_s(host().capacity, task))]
    assert outcome.waste == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kernel", [False, True])
def test_every_task_ends_with_all_its_calls_however_scarce_the_memory(kernel: bool) -> None:
    tasks = [agent(f"t{n}", 1 + n % 7, context=2_000 + 700 * (n % 5)) for n in range(60)]
    outcome = replayed([host(kv_tokens=15_000)], tasks, 0.5, kernel=kernel)
    assert len(outcome.ended) == len(tasks)
    assert outcome.calls == sum(len(task.steps) for task in tasks)
    for program in outcome.programs:
        least_s = alone_s(host(kv_tokens=15_000).capacity, program.task)
        assert program.ended_s - program.arrived_s >= 0.99 * least_s
    for engine in outcome.fleet.engines:
        engine.memory.check()
        assert engine.memory.held == 0


def test_the_same_arrivals_give_the_same_outcome() -> None:
    tasks = [agent(f"t{n}", 1 + n % 5) for n in range(30)]
    first = replayed([host(kv_tokens=20_000)], tasks, 0.3, kernel=True)
    again = replayed([host(kv_tokens=20_000)], tasks, 0.3, kernel=True)
    assert first.jobs_s == again.jobs_s


def test_where_contexts_do_not_fit_together_the_kernel_computes_less_than_passthrough() -> None:
    tasks = [agent(f"t{n}", 12, context=8_000, gap_s=3.0) for n in range(12)]
    bare = replayed([host(kv_tokens=40_000)], tasks, 1.0, kernel=False)
    ours = replayed([host(kv_tokens=40_000)], tasks, 1.0, kernel=True)
    assert ours.waste < 0.8 * bare.waste
    assert sum(ours.jobs_s) < sum(bare.jobs_s)


def test_a_task_goes_to_engines_of_its_tier_that_hold_it() -> None:
    hosts = [host("large", tier=2, tier_min=1), host("small", 8_000, tier=1, tier_min=0)]
    fleet = Fleet.of(hosts)
    small = Task(name="s", steps=(Step(prompt=100, output=10),), tier=0)
    long = Task(name="l", steps=(Step(prompt=20_000, output=10),), tier=1)
    assert [hosts[i].name for i in fleet.eligible(small)] == ["small"]
    assert [hosts[i].name for i in fleet.eligible(long)] == ["large"]
    with pytest.raises(ValueError, match="no engine of tier 0"):
        fleet.eligible(Task(name="x", steps=(Step(prompt=9_000, output=10),), tier=0))


def test_in_closed_loop_so_many_run_at_once_and_no_more() -> None:
    fleet = Fleet.of([host()])
    arrivals = [Arrival(at_s=0.0, task=agent(f"t{n}", 3)) for n in range(10)]
    outcome = Replay(fleet, Passthrough(fleet), arrivals, parallel=3).run()
    changes = sorted(
        [(p.arrived_s, 1) for p in outcome.programs] + [(p.ended_s, -1) for p in outcome.programs]
    )
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    assert most == 3
    assert len(outcome.ended) == 10


# Traces.


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def coding(i: int, stop: str = "tool_use", **more: object) -> dict[str, object]:
    row = {"trace": "t", "agent": "0", "i": i, "in": 1_000 + 100 * i, "out": 20, "stop": stop}
    return {**row, "hit_prev": 1_000 + 100 * (i - 1) if i else 0, "think": 7.0, **more}


def test_an_agents_task_ends_where_its_user_is_asked(tmp_path: Path) -> None:
    rows = [coding(0), coding(1, "end_turn"), coding(2, t=60.0), coding(3, think=9_999.0)]
    found = trace.read(write(tmp_path / "t.jsonl", rows))
    assert [len(one.task.steps) for one in found] == [2, 2]
    assert found[1].at_s == 60.0
    assert found[0].task.steps[1] == Step(prompt=1_100, output=20, prefix=1_000, gap_s=7.0)
    assert found[1].task.steps[0].prefix == 0, "a new task finds nothing of its own"
    assert found[1].task.steps[1].gap_s == trace.TOOL_S_MAX


def test_a_shared_beginning_is_recognised_by_its_size(tmp_path: Path) -> None:
    rows = [coding(0, tool_tokens=300, system_tokens=200), coding(1, "end_turn")]
    task = trace.read(write(tmp_path / "t.jsonl", rows))[0].task
    assert task.shared_tokens == 500
    half = scaled(task, 0.5)
    assert (half.shared_tokens, half.steps[0].prompt, half.steps[1].prefix) == (250, 500, 500)


def test_conversations_are_found_by_their_blocks(tmp_path: Path) -> None:
    def row(at_ms: int, blocks: list[int]) -> dict[str, object]:
        return {
            "timestamp": at_ms,
            "input_length": 512 * len(blocks) - 10,
            "output_length": 50,
            "hash_ids": blocks,
        }

    rows = [row(0, [0, 1, 2]), row(1_000, [0, 9]), row(5_000, [0, 1, 2, 3])]
    found = trace.read(write(tmp_path / "m.jsonl", rows))
    assert sorted(len(one.task.steps) for one in found) == [1, 2]
    long = next(one.task for one in found if len(one.task.steps) == 2)
    assert long.steps[1].gap_s == 5.0
    assert long.steps[1].prefix > 1_000


def test_single_calls_come_at_their_times(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:05.9799600,110,27\n"
    )
    found = trace.read(path)
    assert [round(one.at_s, 3) for one in found] == [0.0, 2.0]
    assert found[0].task.steps == (Step(prompt=4_808, output=10),)


def test_columns_come_in_any_order_and_with_the_mark_that_spreadsheets_put_first(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufeffuser,GeneratedTokens,TIMESTAMP,ContextTokens\nx,7,2023-11-16 18:17,90\n")
    (found,) = trace.read(path)
    assert (found.task.steps[0].prompt, found.task.steps[0].output) == (90, 7)


def test_calls_of_a_conversation_that_were_noted_late_come_at_once(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"timestamp": at, "input_length": 2_000, "output_length": 9, "hash_ids": [1, 2, 3, 4]}
        for at in (60_000, 30_000)
    ]
    (found,) = trace.read(write(tmp_path / "m.jsonl", rows))
    assert [step.gap_s for step in found.task.steps] == [0.0, 0.0]


def test_our_own_format(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"task": "a", "at_s": 3.0, "prompt": 500, "output": 20},
        {"task": "a", "gap_s": 2.0, "prompt": 600, "output": 20, "prefix": 520, "tool": "shell"},
        {"task": "b", "at_s": 1.0, "prompt": 500, "output": 20, "tier": 1},
    ]
    found = trace.read(write(tmp_path / "o.jsonl", rows))
    assert [(one.at_s, one.task.name) for one in found] == [(0.0, "b"), (2.0, "a")]
    assert found[1].task.steps[1].tool == "shell"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no calls"),
        ("hello", ":1: is no trace that is known"),
        ('{"task": "a", "prompt": 5, "output": 2}\n{"task": "a", "promt": 5}', ":2:"),
        ('{"task": "a", "prompt": -5, "output": 2}', ":1:"),
        ('{"task": "a", "prompt": 5, "output": 2, "prefix": 7}', "parts of prompt"),
        ('\n{"task": "a", "prompt": 5, "output": 2, "prefix": 7}', ":2:"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,5,5", ":2: Invalid isoformat"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens", "has no calls"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n\n2023-11-16 18:17:03,5", ":3: Expected `int`"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,5,-1", "`int` >= 0"),
        ("TIMESTAMP,ContextTokens\n2023-11-16 18:17:03,5", "no trace that is known"),
    ],
)
def test_a_broken_trace_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(text)
    with pytest.raises(Misconfigured) as wrong:
        trace.read(path)
    assert said in wrong.value.message
    assert str(path) in wrong.value.message


# Fleets.


def test_a_fleet_is_its_engines_their_room_and_their_price(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    plan = fleets.read(path)
    assert [one.name for one in plan.hosts] == ["big-0", "big-1"]
    assert plan.hosts[0].capacity.kv_tokens == int((80e9 * 0.92 - 60e9) / 262_144)
    assert plan.price_hour == 5.0
    assert plan.goals.first_token_s == 5


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("model_gb = 60", "model_gb = 160", "some-32b takes 160 GB, and the engine has 73.6 GB"),
        ("price_hour", "prize_hour", "fleet.toml:9: engines.big.prize_hour: no such setting; did"),
        ("copies = 2", "copies = 0", "fleet.toml:3"),
        ("decode_ms = 20", "", "needs a calibration, or decode_ms"),
        ("decode_ms = 20", 'calibration = "no.json"', "can't be read"),
        ("[slo]", "[slo", "fleet.toml"),
        ("memory_gb = 80", 'memory_gb = "80 GB"', "fleet.toml:4"),
    ],
)
def test_a_broken_fleet_is_named_with_what_to_do(
    tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.replace(wrong, right))
    with pytest.raises(Misconfigured) as refused:
        fleets.read(path)
    assert said in refused.value.message


def test_a_task_that_fits_nowhere_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    arrivals = [Arrival(at_s=0.0, task=agent("huge", 1, context=900_000))]
    with pytest.raises(Misconfigured, match="1 of 1 tasks fit no engine of their tier, as huge"):
        predict(fleets.read(path), arrivals, "fifo")


def test_every_policy_of_the_kernel_can_be_planned_with(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    plan = fleets.read(path)
    arrivals = [Arrival(at_s=2.0 * n, task=agent(f"t{n}", 3)) for n in range(10)]
    for policy in policies():
        found = predict(plan, arrivals, policy)
        assert found.tasks == 10
        assert found.slowdown_mean >= 0.99
        assert found.cost == pytest.approx(5.0 * found.hours)
        assert 0 <= found.first_token_met <= 1
        assert math.isfinite(found.first_token_s_p95)


# The command.


def planned(tmp_path: Path, *more: str) -> int:
    fleet, calls = tmp_path / "fleet.toml", tmp_path / "o.jsonl"
    fleet.write_text(FLEET)
    rows = []
    for task in range(20):
        rows.append({"task": f"t{task}", "at_s": 5.0 * task, "prompt": 4_000, "output": 100})
        again = {"gap_s": 4.0, "prompt": 4_200, "output": 100, "prefix": 4_100}
        rows.append({"task": f"t{task}", **again})
    write(calls, [dict(row) for row in rows])
    return run(["plan", str(calls), "--fleet", str(fleet), *more])


def test_the_command_shows_a_table_and_draws_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "plan.svg"
    assert planned(tmp_path, "--picture", str(picture)) == 0
    said = capsys.readouterr().out
    assert "passthrough" in said
    assert "programs" in said
    assert "$5.00 an hour" in said
    drawing = ElementTree.parse(picture).getroot()
    lines = drawing.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2, "a curve for each policy"


def test_the_command_gives_json_and_draws_tasks_by_their_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--json", "--policy", "las", "--tasks", "15", "--rate", "600"]
    assert planned(tmp_path, *flags) == 0
    first = json.loads(capsys.readouterr().out)
    assert planned(tmp_path, *flags) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert planned(tmp_path, *flags, "--seed", "2") == 0
    assert json.loads(capsys.readouterr().out) != first
    assert first[0]["policy"] == "las"
    assert first[0]["tasks"] == 15


def test_a_mistake_is_an_exit_code_and_not_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(tmp_path, "--picture", str(tmp_path / "absent" / "p.svg")) != 0
    said = capsys.readouterr().err
    assert "can't be written: there is no" in said
    assert "policies" not in said, "before anything was computed"
    assert "Traceback" not in said
