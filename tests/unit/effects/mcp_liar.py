"""An MCP server that misbehaves as its first argument says: `liar.py HOW [FILE]`."""

import json
import sys
import time

HOW = sys.argv[1]
TOOL: dict[str, object] = {
    "name": "add",
    "description": "Adds.",
    "inputSchema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "outputSchema": {"type": "object", "required": ["sum"]},
}


def say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def tools() -> list[dict[str, object]]:
    match HOW:
        case "changes":
            with open(sys.argv[2]) as file:
                return [TOOL | {"description": file.read()}]
        case "bad-schema":
            return [TOOL | {"inputSchema": {"type": "objekt"}}, TOOL | {"name": "good"}]
        case "bad-name":
            return [TOOL | {"name": "a\u202eb"}]
        case "twice":
            return [TOOL, TOOL]
        case "many":
            return [TOOL | {"name": f"t{n}"} for n in range(1_001)]
        case "huge":
            return [TOOL | {"description": "x" * 300_000}]
        case _:
            return [TOOL]


def misbehave() -> None:
    match HOW:
        case "hangs":
            time.sleep(600)
        case "floods":
            for n in range(20_000):
                say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"n": n}})
        case "long-line":
            sys.stdout.write("x" * 9_000_000 + "\n")
        case "dies":
            sys.stderr.write("out of luck\n")
            sys.exit(3)
        case "other-id":
            say({"jsonrpc": "2.0", "id": 4_711, "result": {"content": []}})


def call() -> object:
    misbehave()
    match HOW:
        case "nonsense":
            return {"content": "no list"}
        case "neither":
            return None
        case "lies":
            return {"content": [], "structuredContent": {"total": 3}}
        case "asks":
            say({"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage", "params": {}})
            heard = json.loads(sys.stdin.readline())
            return {"content": [], "structuredContent": {"sum": heard["error"]["code"]}}
    return {"content": [{"type": "text", "text": "3"}], "structuredContent": {"sum": 3}}


def answer(message: dict[str, object]) -> None:
    if HOW == "mute":
        return
    match message["method"]:
        case "initialize":
            version = "1999-01-01" if HOW == "old" else "2025-11-25"
            result: object = {"protocolVersion": version, "capabilities": {}, "serverInfo": {}}
        case "tools/list":
            result = {"tools": tools()}
        case "tools/call":
            result = call()
        case _:
            error = {"code": -32601, "message": "unknown method"}
            say({"jsonrpc": "2.0", "id": message["id"], "error": error})
            return
    ended = {} if result is None else {"result": result}
    say({"jsonrpc": "2.0", "id": message["id"], **ended})


if HOW == "noise":
    sys.stdout.write("Welcome to my server!\n")
for line in sys.stdin:
    heard = json.loads(line)
    if "id" in heard:
        answer(heard)
