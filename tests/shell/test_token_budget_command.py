"""A token narrowed to a budget on the command line, and spent over HTTP on a real kernel."""

import json
import os
import subprocess
import sys

from live_kernel import ORLOP, LiveKernel

SPENDS = """
import json, os, sys, urllib.error, urllib.request
from orlop.abi.calls import Budget
import orlop
token = orlop.narrowed(budget=Budget(calls=2))
print(token, flush=True)
body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hi"}]}).encode()
for bearer in (token, token, token, os.environ["ORLOP_TOKEN"]):
    headers = {"authorization": "Bearer " + bearer, "content-type": "application/json"}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
            print(answer.status, flush=True)
    except urllib.error.HTTPError as error:
        print(error.code, "token" in error.read().decode(), flush=True)
"""


def test_a_budget_in_a_token_holds_over_http_and_people_see_it(kernel: LiveKernel) -> None:
    running = subprocess.Popen(
        [*ORLOP, "run", "--name", "spender", "--", sys.executable, "-c", SPENDS],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    token, *said = running.communicate(timeout=60)[0].splitlines()
    assert said == ["200", "200", "429 True", "200"]
    shown = json.loads(kernel.orlop("token", "show", token, "--json"))
    last = shown["blocks"][-1]
    assert (last["budget"], last["used"]["calls"]) == ({"calls": 2}, 2)
    account = json.loads(kernel.orlop("budget", "show", f"token:{last['id']}", "--json"))
    assert (account["source"], account["used"]["calls"]) == ("token", 2)
    assert "2 of 2 calls" in kernel.orlop("token", "show", token)
    tighter = kernel.orlop("token", "narrow", token, "--budget", "usd=0.5").strip()
    offline = json.loads(kernel.orlop("token", "show", tighter, "--offline", "--json"))
    assert offline["blocks"][-1]["budget"] == {"nano_dollars": 500_000_000}
