"""A server made with the official package, behind HTTP: `mcp_over_http.py SOCKET json|sse`."""

import asyncio
import socket
import sys

import uvicorn
from mcp.server import MCPServer

server = MCPServer("shop")


@server.tool()
def total(prices: list[int]) -> dict[str, int]:
    """Adds prices."""
    return {"total": sum(prices)}


@server.tool()
async def slow() -> str:
    """Takes its time."""
    await asyncio.sleep(600)
    return "done"


@server.tool()
def broken() -> str:
    """Never works."""
    raise ValueError("no such shelf")


app = server.streamable_http_app(json_response=sys.argv[2] == "json")
listener = socket.socket(fileno=int(sys.argv[1]))
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
