"""A wrong orlop.toml: file, line and the nearest valid key are named, and nothing starts."""

import os
import subprocess
from pathlib import Path

import pytest
from live_kernel import ORLOP

USAGE = 2
"""As `docs/cli.md` says."""

WRONG = {
    "an unknown key": ("[http]\nprot = 7411", "orlop.toml:2: http.prot: no such setting; did you"),
    "an unknown table": ("[htpp]\nport = 1", "orlop.toml:1: htpp: no such setting; did you mean"),
    "a wrong type": ("[http]\n\nport = '1'", "orlop.toml:3: http.port: Expected `int | null`"),
    "a port that is none": ("[http]\nport = 70000", "orlop.toml:2: http.port: "),
    "a count below its range": ("[kernel]\nsnapshot_events = 0", "orlop.toml:2: kernel.snapshot"),
    "not a number": ("[http]\nstall_s = nan", "orlop.toml:2: http.stall_s: "),
    "an infinite time": ("[kernel]\nrestart_delay_s = inf", "orlop.toml:2: kernel.restart_delay_s"),
    "an unknown choice": ('[scheduler]\npolicy = "lifo"', "orlop.toml:2: scheduler.policy: "),
    "a tool without a command": (
        '[tools.pay]\neffect = "pure"',
        "orlop.toml:1: [tools.pay]: needs `command`",
    ),
    "a table that is none": ("engines = 5", "orlop.toml:1: engines: should be a table"),
    "no TOML": ("[http\nport = 1", "orlop.toml: "),
    "not UTF-8": ("[http]\nhost = '\udcff'", "orlop.toml: can't be read"),
    "a URL that is none": (
        '[engines.a]\nurl = "host:80"',
        "orlop.toml:2: engines.a: url should be http",
    ),
    "a key that is not set": (
        '[engines.a]\nurl = "http://h"\nkey_env = "ORLOP_TEST_NO_SUCH"',
        "orlop.toml:3: engines.a: key_env: $ORLOP_TEST_NO_SUCH is not set",
    ),
    "a key file that is not there": (
        '[engines.a]\nurl = "http://h"\nkey_file = "/nowhere/key"',
        "orlop.toml:3: engines.a: key_file: can't be read",
    ),
    "a file of a model that is not there": (
        '[engines.a]\ndriver = "llamacpp"\n\nmodel = "/nowhere/x.gguf"',
        "orlop.toml:4: engines.a: model: no model '/nowhere/x.gguf'; there is no such file",
    ),
    "a rate that is none": ('[systems.s]\nrate = "fast"', "orlop.toml:2: [systems.s] rate: write"),
    "a shift that is none": (
        '[escalations.m]\nend = "deny"\nsteps = [{to = ["a"], hours = "Mon 09"}]',
        "orlop.toml:1: [escalations.m] step 1: hours 'Mon 09'",
    ),
    "an artefact of no engine": (
        '[models.cards.s]\nreference = "a"\n\n[models.cards.s.artefacts.a]\nengine = "x"\n'
        'model = "m"',
        "orlop.toml:5: models.cards.s.artefacts.a: engine: no engine 'x'",
    ),
    "a webhook that is none": (
        '[people]\nwebhook_url = "ftp://x"',
        "orlop.toml:2: [people] webhook_url: write http",
    ),
    "a store that is none": (
        '[memory]\nstore = "qdrant"',
        "orlop.toml:2: memory.store: ",
    ),
    "a host that others reach": ('[http]\nhost = "0.0.0.0"', "orlop.toml:2: [http] host = "),
    "a model that is not there": (
        '[engines.a]\ndriver = "llamacpp"\nmodel = "nope"',
        "orlop.toml:3: engines.a: model: no model 'nope'; `orlop pull nope`",
    ),
}


def up(home: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*ORLOP, "up", "--home", str(home), "--port", "0", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_DATA_HOME": str(home)},
    )


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_named_and_nothing_starts(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "orlop.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = up(tmp_path)
    assert done.returncode == USAGE, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "info.json").exists()
    assert not (tmp_path / "journal.db").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = up(tmp_path, "--config", str(tmp_path / "other.toml"))
    assert done.returncode == USAGE
    assert "other.toml" in done.stderr


@pytest.mark.parametrize("flags", [(), ("-d",)], ids=["foreground", "detached"])
def test_a_mistake_that_only_the_kernel_finds_is_told_too(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    (tmp_path / "orlop.toml").write_text('[journal]\nurl = "mysql://there/orlop"')
    done = up(tmp_path, *flags)
    assert done.returncode == USAGE, done
    assert "Misconfigured: journal.url: only postgresql://… is known" in done.stderr
    assert not (tmp_path / "info.json").exists()


def test_an_engine_flag_without_a_url_is_refused(tmp_path: Path) -> None:
    done = up(tmp_path, "--engine", "vllm")
    assert done.returncode == USAGE
    assert "write NAME=URL" in done.stderr


def test_a_key_file_that_others_may_read_is_refused_and_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk-very-secret")
    secret.chmod(0o644)
    table = f'[engines.a]\nurl = "http://h"\nkey_file = "{secret}"'
    (tmp_path / "orlop.toml").write_text(table)
    done = up(tmp_path)
    assert done.returncode == USAGE
    assert "is open to others" in done.stderr
    assert "sk-very-secret" not in done.stdout + done.stderr
