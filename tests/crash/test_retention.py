"""What was said in old calls goes; that it was said stays, and what lives is not touched."""

import json
import sys
import time
from pathlib import Path

import pytest
from crash.test_carrying import Home, kernel
from postgres_server import postgres

from orlop.store.tapes import JournalConfig
from orlop.store.verify import verify


@pytest.mark.parametrize("place", ["sqlite", "postgres"])
def test_pruned_calls_are_shown_but_not_replayed_and_the_chain_verifies(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = JournalConfig()
    path = tmp_path / "home"
    path.mkdir()
    text = f'[models]\ndir = "{path}/models"\n[engines.fake]\ndriver = "fake"\n'
    if place == "postgres":
        serving = postgres()
        server = serving.__enter__()
        request.addfinalizer(lambda: serving.__exit__(None, None, None))
        config = JournalConfig(url=server.url, schema="pruned")
        text += f'[journal]\nurl = "{server.url}"\nschema = "pruned"\n'
    (path / "orlop.toml").write_text(text)
    with kernel(path) as home:
        home.run("old")
        command = [sys.executable, str(home.program), "40", "0.5"]
        home.orlop("run", "-d", "--name", "live", "--restart", "on-failure", "--", *command)
        until_calling(home, "live")
        time.sleep(1.2)
        wrong = home.orlop("journal", "prune", "--older", "soon", check=False)
        assert wrong.returncode and "90d" in wrong.stderr
        planned = home.json("journal", "prune", "--older", "1s", "--dry-run")
        assert int(str(planned["events"])) == 6 and int(str(planned["live"])) > 0
        assert home.orlop("replay", "old").returncode == 0, "nothing is gone yet"
        pruned = home.json("journal", "prune", "--older", "1s")
        assert int(str(pruned["events"])) >= 6
        assert len(home.calls("old")) == 3, "that they were made stays"
        gone = home.orlop("replay", "old", check=False)
        assert gone.returncode and "no longer kept" in gone.stderr
        before = home.calls("live")
        home.orlop("down")
        home.orlop("up", "-d", "--port", "0")
        until_calling(home, "live")
        assert before <= home.calls("live"), "it was resumed from what was kept"
        assert json.loads(home.orlop("show", "live", "--json").stdout)["divergence"] == ""
        home.orlop("kill", "live")
        refused = home.orlop(
            "journal", "forget", "default", "--reason", "erasure", "--yes", check=False
        )
        until_ended(home, "live")
        forgotten = home.orlop(
            "journal", "forget", "default", "--reason", "erasure", "--yes", check=False
        )
        assert forgotten.returncode == 0, refused.stderr + forgotten.stderr
        unreadable = home.orlop("replay", "live", check=False)
        assert unreadable.returncode
        home.run("new")
    verdict = verify(path, config=config)
    assert verdict.is_whole, verdict.damage


def until_calling(home: Home, name: str) -> None:
    give_up_s = time.monotonic() + 60
    known = -1
    while True:
        done = home.orlop("show", name, "--json", check=False)
        if done.returncode == 0:
            view = json.loads(done.stdout)
            if view["state"] == "running" and view["calls"] + view["calls_replayed"] > known >= 0:
                return
            known = view["calls"] + view["calls_replayed"]
        assert time.monotonic() < give_up_s, done.stdout + done.stderr
        time.sleep(0.3)


def until_ended(home: Home, name: str) -> None:
    give_up_s = time.monotonic() + 60
    while json.loads(home.orlop("show", name, "--json").stdout)["state"] != "exited":
        assert time.monotonic() < give_up_s
        time.sleep(0.3)
