"""What is said in plain words, as calls of files.

A model turns the words into steps, within a schema that knows nothing else; it touches no file.
Whoever carries the steps out asks first about those that are not `HARMLESS`.
"""

import json
from typing import Final, Literal, assert_never, get_args

import msgspec
from msgspec import Struct

from orlop.abi.errors import BadCall, DeviceFailed, NotFound
from orlop.abi.messages import Message
from orlop.sdk.files_sync import SyncFiles
from orlop.sdk.sync import SyncKernel

FILES_SHOWN: Final = 100
"""Paths that the model is told, so that it need not guess them."""

STEPS_MAX: Final = 8
TOKENS_MAX: Final = 512
RULES: Final = """You turn a wish about files into steps, as JSON. Each step does one thing:
list (a folder), read, write (a whole file: text), append (text to a file), delete, move (to),
copy (to), rollback (to a version), snapshot (a folder, to: its name), search (text).
Paths are absolute. Use the paths that there are; make up none but for new files.
These files are there:
"""

Verb = Literal[
    "list", "read", "write", "append", "delete", "move", "copy", "rollback", "snapshot", "search"
]
HARMLESS: Final = frozenset({"list", "read", "search"})


class Step(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    do: Verb
    path: str = "/"
    to: str = ""
    text: str = ""
    version: int = 0


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    steps: tuple[Step, ...]


SCHEMA: Final[dict[str, object]] = {
    "type": "object",
    "properties": {
        "steps": {
            "type": "array",
            "minItems": 1,
            "maxItems": STEPS_MAX,
            "items": {
                "type": "object",
                "properties": {
                    "do": {"enum": list(get_args(Verb))},
                    "path": {"type": "string"},
                    "to": {"type": "string"},
                    "text": {"type": "string"},
                    "version": {"type": "integer"},
                },
                "required": ["do", "path"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["steps"],
    "additionalProperties": False,
}


def planned(system: SyncKernel, wish: str, model: str) -> Plan:
    """Raises `DeviceFailed` where the model does not keep to the schema."""
    there = [row.path for row in system.files.page("/", limit=FILES_SHOWN)]
    answer = system.infer(
        [Message("system", RULES + "\n".join(there)), Message("user", wish)],
        model=model,
        output_tokens_max=TOKENS_MAX,
        temperature=0.0,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "steps", "schema": SCHEMA, "strict": True},
        },
    )
    try:
        plan = msgspec.json.decode(answer.text(), type=Plan)
    except msgspec.DecodeError as error:
        raise DeviceFailed(
            f"{model} answered with no steps ({error}): {answer.text()[:200]}"
        ) from error
    if not 1 <= len(plan.steps) <= STEPS_MAX:
        raise DeviceFailed(f"{model} answered with {len(plan.steps)} steps")
    return plan


def said(step: Step) -> str:
    words = [step.do, step.path]
    words += [f"to {step.to}"] if step.to else []
    words += [f"version {step.version}"] if step.version else []
    words += [json.dumps(step.text, ensure_ascii=False)[:80]] if step.text else []
    return " ".join(words)


def carried_out(tree: SyncFiles, step: Step) -> str:
    """What there is to show."""
    match step.do:
        case "list":
            return "\n".join(row.path for row in tree.list(step.path)) or "nothing there"
        case "read":
            return tree.read(step.path).decode(errors="replace")
        case "write" | "append":
            made = tree.write(step.path, step.text, append=step.do == "append")
            return f"{step.path}: version {made}"
        case "delete":
            tree.delete(step.path)
        case "move":
            tree.move(step.path, step.to)
        case "copy":
            tree.copy(step.path, step.to)
        case "rollback":
            return _rolled_back(tree, step)
        case "snapshot":
            return f"event {tree.snapshot(step.path, step.to)}"
        case "search":
            return _found(tree, step)
        case _:
            assert_never(step.do)
    return ""


def _rolled_back(tree: SyncFiles, step: Step) -> str:
    """To the version, or to the one before the newest."""
    versions = tree.versions(step.path)
    version = step.version or (versions[-2].version if len(versions) > 1 else 0)
    if not version:
        raise BadCall(f"{step.path} has no version before this one")
    made = tree.rollback(step.path, version=version)
    return "\n".join(f"{one.path}: version {one.version}" for one in made)


def _found(tree: SyncFiles, step: Step) -> str:
    hits = tree.search(step.text or step.path, path=step.path if step.text else "/").hits
    if not hits:
        raise NotFound(f"nothing is found for {step.text!r}")
    return "\n".join(f"{hit.path}: {' '.join(hit.text.split())[:120]}" for hit in hits)
