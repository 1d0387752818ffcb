"""The house rules that a linter does not know.  A number changes with a decision record only."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "orlop"
MODULES = sorted(SRC.rglob("*.py"))

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PACKAGE_LINES_MAX = 7_000
"""No package outgrows Starlette."""

LISTS = {SRC / "abi" / "limits.py"}
"""Nothing but names and numbers, to be found in one place."""

VAGUE = {"base", "common", "helpers", "manager", "misc", "util", "utils"}

FOREIGN = {
    "aiohttp": {
        "effects/mcp_http.py",
        "effects/outgoing.py",
        "effects/postman.py",
        "effects/web.py",
        "sdk/aio.py",
    },
    "biscuit_auth": {"wire/biscuit.py"},
    "cronsim": {"kernel/when.py"},
    "faiss": {"shell/faiss_files.py"},
    "onnxruntime": {"devices/onnx_network.py", "memory/graph.py"},
    "jsonschema_rs": {"tools/schema.py"},
    "prometheus_client": {"http/metrics.py"},
    "pydantic_monty": {"effects/monty.py"},
    "psycopg": {
        "cluster/postgres_common.py",
        "cluster/postgres_peers.py",
        "cluster/postgres_shared.py",
        "effects/sql_postgres.py",
        "memory/stores/pgvector.py",
        "store/postgres.py",
        "store/postgres_commit.py",
        "store/postgres_reading.py",
    },
    "pymilvus": {"memory/stores/milvus.py"},
    "qdrant_client": {"memory/stores/qdrant.py"},
    "ray": {"hardware/accelerators.py"},
    "numpy": {
        "devices/onnx_network.py",
        "memory/block.py",
        "memory/block_rows.py",
        "memory/blocks.py",
        "memory/graph.py",
        "shell/faiss_files.py",
    },
    "sqlite3": {"store", "effects/sql_sqlite.py", "files", "memory", "operate/doctor.py"},
    "tokenizers": {"devices/onnx_network.py"},
    "usearch": {"memory/graph.py"},
    "uvicorn": {"http"},
    "xllamacpp": {"devices/llamacpp_host.py"},
    "zmq": {"drivers/kv_stream.py"},
}
"""A library, and the files (or the package) that alone may import it."""

LAZY = {
    "aiohttp",
    "numpy",
    "onnxruntime",
    "orlop.effects.mcp_http",
    "orlop.effects.outgoing",
    "orlop.effects.postman",
    "orlop.effects.sql_postgres",
    "orlop.effects.web",
    "orlop.memory.blocks",
    "orlop.memory.graph",
    "orlop.memory.stores",
    "orlop.cluster.postgres_common",
    "orlop.cluster.postgres_peers",
    "orlop.operate.up",
    "orlop.shell.commands",
    "orlop.shell.faiss_files",
    "orlop.store.postgres",
    "pydantic_monty",
    "ray",
    "rich",
    "ssl",
    "tokenizers",
    "xllamacpp",
    "zmq",
}
"""What may be imported inside a function: heavy, optional, or too slow for a command's start."""


def name_of(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_small_says_what_it_is_for_and_hides_no_import(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert path.stem not in VAGUE, "name what it is about"
    assert ast.get_docstring(tree), "say in one line what this file is for"
    assert len(text.splitlines()) <= MODULE_LINES_MAX or path in LISTS
    assert "TYPE_CHECKING" not in text, "a hidden import is still an import: move the type down"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name
            hidden = [name for name in imports(node) if not is_lazy(name)]
            assert not hidden, f"{node.name} imports {hidden} inside its body"


def is_lazy(name: str) -> bool:
    return any(name == lazy or name.startswith(lazy + ".") for lazy in LAZY)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_foreign_library_is_imported_in_its_own_file_only(path: Path) -> None:
    name = name_of(path)
    for imported in imports(ast.parse(path.read_text())):
        allowed = FOREIGN.get(imported.split(".")[0])
        if allowed is not None:
            assert name in allowed or name.split("/")[0] in allowed, f"{imported} in {name}"


def test_no_floor_is_too_large() -> None:
    for floor in (path for path in SRC.iterdir() if path.is_dir()):
        lines = sum(len(path.read_text().splitlines()) for path in floor.rglob("*.py"))
        assert lines <= PACKAGE_LINES_MAX, floor.name


def test_no_two_test_files_share_a_name() -> None:
    """pytest tells them apart by their names alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
