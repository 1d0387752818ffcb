"""What a kernel shows of its processes, as JSON, for the shell's tests."""

VIEW: dict[str, object] = {
    "id": "prc_7",
    "pid": 7,
    "name": "triage",
    "state": "running",
    "reason": "",
    "parent": None,
    "command": ["python", "triage.py"],
    "cwd": "/work",
    "latency_class": "standard",
    "program": "",
    "version": "",
    "restart": "never",
    "on_divergence": "stop",
    "budget": {"calls": 10},
    "incarnation": 1,
    "mode": "first",
    "status": None,
    "outcome": "",
    "divergence": "",
    "os_pid": 4711,
    "spawned_ns": 1_790_000_000_000_000_000,
    "started_ns": 1_790_000_000_000_000_000,
    "ended_ns": None,
    "calls": 3,
    "calls_in_flight": 1,
    "calls_replayed": 0,
    "input_tokens": 1200,
    "cached_tokens": 1000,
    "output_tokens": 34,
    "cost": 420_000,
    "team": "",
    "used": {"calls": 3, "tokens": 1234, "nano_dollars": 420_000, "ns": 0},
    "home": "",
    "rights": [],
    "tenant": "default",
    "progress": None,
    "questions": [],
    "human_minutes": 0.0,
    "human_cost": 0,
}


def view(**changes: object) -> dict[str, object]:
    return VIEW | changes


def ended(status: int, **changes: object) -> dict[str, object]:
    end = {"state": "exited", "status": status, "ended_ns": 1_790_000_003_000_000_000}
    return VIEW | end | changes
