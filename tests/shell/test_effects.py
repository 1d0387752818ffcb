"""`orlop effects`, `orlop sagas` and Python tools of orlop.toml, on a real kernel."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel

PATIENCE_S = 60.0
BOOK = """
import json, os, pathlib, sys, time
given, folder = json.load(sys.stdin), pathlib.Path(sys.argv[1])
with open(folder / "booked", "a") as booked:
    booked.write(given["what"] + chr(10))
while given["what"] == "slow":
    time.sleep(1)
print(json.dumps({"number": "n-" + given["what"]}))
"""
CANCEL = """
import json, pathlib, sys
given, folder = json.load(sys.stdin), pathlib.Path(sys.argv[1])
if not (folder / "open").exists():
    sys.exit("closed on Sundays")
with open(folder / "cancelled", "a") as cancelled:
    cancelled.write(given["number"] + chr(10))
"""
PROGRAM = """
import orlop, sys, time
from orlop.abi.errors import EffectUnknown

with orlop.connect_sync() as kernel:
    try:
        with kernel.saga("trip") as saga:
            saga.call_tool("book", what="fast")
            while True:
                try:
                    print(saga.call_tool("book", what="slow"), flush=True)
                    break
                except EffectUnknown as unknown:
                    print(unknown.code, flush=True)
                    time.sleep(0.3)
            raise ValueError("changed my mind")
    except ValueError as error:
        print(error, saga.over.state, saga.over.undone, flush=True)
"""


def config(folder: Path) -> str:
    (folder / "book.py").write_text(BOOK)
    (folder / "cancel.py").write_text(CANCEL)
    (folder / "program.py").write_text(PROGRAM)
    book = json.dumps([sys.executable, str(folder / "book.py"), str(folder)])
    cancel = json.dumps([sys.executable, str(folder / "cancel.py"), str(folder)])
    return (
        f'\n[tools.book]\ncommand = {book}\neffect = "compensable"\ncompensate = "cancel"\n'
        'compensate_with = { number = "{result.number}" }\n'
        f'[tools.cancel]\ncommand = {cancel}\neffect = "idempotent"\n'
    )


def until(said: str, ask: "Path | LiveKernel", *words: str) -> str:
    """What a file holds, or a command prints, once `said` is in it."""
    give_up_s = time.monotonic() + PATIENCE_S
    text = ""
    while said not in text:
        assert time.monotonic() < give_up_s, text
        if isinstance(ask, LiveKernel):
            time.sleep(0.3)  # Each look starts a command, and keeps others waiting.
            text = ask.orlop(*words)
        else:
            time.sleep(0.05)
            text = ask.read_text() if ask.exists() else ""
    return text


def test_a_persons_word_settles_what_nobody_knows_and_what_could_not_be_undone(
    tmp_path: Path,
) -> None:
    with live_kernel(config(tmp_path)) as kernel:
        assert kernel.orlop("effects") == "nothing is unknown\n"
        running = subprocess.Popen(
            [*ORLOP, "run", "--", sys.executable, str(tmp_path / "program.py")],
            env={**os.environ, "ORLOP_HOME": str(kernel.home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        until("slow", tmp_path / "booked")
        os.kill(json.loads(kernel.orlop("info", "--json"))["os_pid"], signal.SIGKILL)
        shown = until("book (compensable)", kernel, "effects")
        assert '{"what": "slow"}' in shown and "E3002" in shown
        (effect,) = json.loads(kernel.orlop("effects", "--json"))
        refused = subprocess.run(
            [*ORLOP, "effects", "settle", effect["id"]],
            env={**os.environ, "ORLOP_HOME": str(kernel.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode != 0 and "--did-not" in refused.stderr
        word = '{"number": "n-slow"}'
        said = kernel.orlop("effects", "settle", effect["id"], "--happened", word, "--as", "Grace")
        assert said == f"book ({effect['id']}): it happened\n"
        # The shop is closed, so the saga that is given up now can't be undone.
        shown = until("stuck", kernel, "sagas")
        (row,) = json.loads(kernel.orlop("sagas", "--json"))
        assert "closed on Sundays" in kernel.orlop("sagas", "show", row["id"])
        (tmp_path / "open").touch()
        kernel.orlop("sagas", "settle", row["id"], "--again", "--as", "Grace")
        printed, _ = running.communicate(timeout=PATIENCE_S)
        lines = [line for line in printed.splitlines() if line != "E1205"]
        assert lines == [
            "{'number': 'n-slow'}",
            "changed my mind compensated ('book', 'book')",
        ]
        assert "E1205" in printed
        assert (tmp_path / "cancelled").read_text().split() == ["n-slow", "n-fast"]
        assert (tmp_path / "booked").read_text().split() == ["fast", "slow"]
        assert kernel.orlop("sagas") == "no saga is open\n"
        assert "compensated" in kernel.orlop("sagas", "--all")
        trace = kernel.orlop("journal", "export")
        assert '"kind":"effect.settled"' in trace and '"person":"Grace"' in trace


FUNCTIONS = """
from dataclasses import dataclass
import os

@dataclass
class Total:
    cents: int
    key: str

def total(prices: list[float], tax: float = 0.2) -> Total:
    \"\"\"Adds prices.\"\"\"
    print("this is no result")
    return Total(round(sum(prices) * (1 + tax) * 100), os.environ["ORLOP_KEY"])

def broken() -> int:
    return "not a number"
"""


def test_a_python_function_of_orlop_toml_is_a_tool_by_its_types(tmp_path: Path) -> None:
    (tmp_path / "shop_tools.py").write_text(FUNCTIONS)
    tools = (
        f'\n[tools.total]\npython = "shop_tools:total"\neffect = "pure"\ncwd = "{tmp_path}"\n'
        f'[tools.broken]\npython = "shop_tools:broken"\ncwd = "{tmp_path}"\n'
    )
    program = (
        "import orlop\n"
        "with orlop.connect_sync() as kernel:\n"
        "    print(kernel.call_tool('total', prices=[1, 2.5])['cents'])\n"
        "    for tool, given in (('total', {'prices': 'x'}), ('broken', {})):\n"
        "        try:\n"
        "            kernel.call_tool(tool, **given)\n"
        "        except orlop.KernelError as error:\n"
        "            print(error.code, error.message)\n"
    )
    with live_kernel(tools) as kernel:
        card = json.loads(kernel.orlop("tools", "show", "total", "--json"))["card"]
        assert card["description"] == "Adds prices."
        assert card["parameters"]["required"] == ["prices"]
        said = kernel.orlop("run", "--", sys.executable, "-c", program).splitlines()
        assert said[0] == "420"
        assert said[1].startswith("E1001") and "/prices" in said[1]
        assert said[2].startswith("E2102")


def test_a_function_in_a_sandbox_is_not_loaded_outside_of_it_for_its_types(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(f"open('{tmp_path}/loaded', 'w').close()\ndef f(): ...\n")
    tool = f'\n[tools.x]\npython = "loud:f"\ncwd = "{tmp_path}"\nsandbox = {{}}\n'
    with pytest.raises(AssertionError, match=r"tools.x. parameters: say them"):  # noqa: SIM117
        with live_kernel(tool):
            pass
    assert not (tmp_path / "loaded").exists()


def test_a_module_that_can_not_be_loaded_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"tools.x.*No module named 'nowhere_at_all'"):  # noqa: SIM117
        with live_kernel('\n[tools.x]\npython = "nowhere_at_all:f"\n'):
            pass
