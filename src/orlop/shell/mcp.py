"""`orlop mcp`: the kernel's tools for a program that starts its MCP servers as commands."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import click

from orlop.abi.errors import KernelError
from orlop.console.frame import Frame, framed
from orlop.sdk.exchange import JSON, Order
from orlop.sdk.link import Link

AT_ONCE: Final = 32
FAILED: Final = -32603


@click.command()
@click.option("--key", default="", help="A client's key (`orlop key create`); default: your own.")
@click.option("--process", default="", help="The process that the calls belong to; default: none.")
@framed
def mcp(frame: Frame, key: str, process: str) -> None:
    """Serve the kernel's tools over MCP.

    On standard input and output: name this command as an MCP server of your program.  Over HTTP the
    same is at /mcp.
    """
    bridge = Bridge(frame.link(key, process))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in sys.stdin.buffer:
            if line.strip():
                pool.submit(bridge.carry, line)


class Bridge:
    """Each line is a message; its answer is one too, in whatever order they end."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._writing = threading.Lock()

    def carry(self, line: bytes) -> None:
        try:
            answered = self._link.ask(Order("POST", "/mcp", line, JSON, repeatable=False)).body
        except KernelError as error:
            answered = _refused(line, error)
        if answered:
            with self._writing:
                sys.stdout.buffer.write(answered + b"\n")
                sys.stdout.buffer.flush()


def _refused(line: bytes, error: KernelError) -> bytes:
    """What the client is told where the kernel can't be asked; nothing to a notification."""
    try:
        id = json.loads(line).get("id")
    except (ValueError, AttributeError):
        id = None
    if id is None:
        return b""
    said = {"code": FAILED, "message": f"{error.code} {error.message}"}
    return json.dumps({"jsonrpc": "2.0", "id": id, "error": said}).encode()
