"""Everything written out by one kernel, and brought into another one."""

import json
from pathlib import Path

import pytest
from live_kernel import LiveKernel, live_kernel, orlop

import orlop as public


def filled(kernel: LiveKernel) -> None:
    with public.connect_sync(home=kernel.home) as system:
        system.infer("[[say hello there]]", model="fake")
        system.files.write("/notes/a.txt", "one")
        system.files.write("/notes/a.txt", "two")
        system.files.write("/notes/b.txt", "one")
        system.files.delete("/notes/b.txt")
        system.remember("Ann likes figs", namespace="common/people", labels=("mail",))
        system.files.write("/notes/a.txt", "one", append=True, labels=("mail",))


def test_an_export_says_all_and_an_import_brings_files_and_memories(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with live_kernel() as first:
        filled(first)
        said = json.loads(first.orlop("export", str(out), "--json"))
    assert said["versions"] == 5
    assert said["blobs"] == 3
    assert said["memories"] == 1
    assert len((out / "events.jsonl").read_text().splitlines()) == said["events"]
    texts = [path.read_text() for path in (out / "messages").iterdir()]
    assert any("hello" in text for text in texts)
    with live_kernel() as second:
        done = json.loads(second.orlop("import", str(out), "--json"))
        assert (done["versions"], done["memories"], done["skipped"]) == (5, 1, [])
        with public.connect_sync(home=second.home) as system:
            assert system.files.read("/notes/a.txt", version=1) == b"one"
            kept = [row.labels for row in system.files.versions("/notes/a.txt")]
            assert kept == [(), (), ("mail",)]
            (known,) = system.recall("figs", namespaces=("common/people",)).memories
            assert known.labels == ("mail",)
            assert [row.kind for row in system.files.versions("/notes/b.txt")] == [
                "file",
                "deleted",
            ]
        again = json.loads(second.orlop("import", str(out), "--json"))
        assert (again["versions"], again["there_already"]) == (0, 5)
        (out / "manifest.json").unlink()
        with pytest.raises(AssertionError, match="no whole export"):
            orlop(second.home, ("import", str(out)))
