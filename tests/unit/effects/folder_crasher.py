"""A process that makes one change to a folder, and may be killed in the middle of it."""

import os
import sys
from pathlib import Path

from orlop.effects.folder_changes import OUTBOX, Changes
from orlop.machine import faults

root, does = Path(sys.argv[1]), sys.argv[2]
changes = Changes(root, 1_000)
if not (root / OUTBOX).exists():
    (root / "a").write_text("old")
    (root / OUTBOX).mkdir()
faults.install_from(os.environ.get("ORLOP_FAULT", ""))
match does:
    case "write":
        changes.write(("a",), b"new", "key")
    case "append":
        changes.write(("a",), b"+new", "key", append=True)
    case "remove":
        changes.remove(("a",), "key")
    case "move":
        changes.move(("a",), ("b",), "key")
    case "undo":
        changes.write(("a",), b"new", "key")
        changes.undo("key", "key.undo")
