"""`/mcp`: the kernel's tools as an MCP server.  A call is one of the token's process."""

from typing import Final

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import KernelError
from orlop.abi.replies import ToolResult
from orlop.http.exchange import Exchange
from orlop.http.native import last
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import offers
from orlop.wire import mcp_server as mcp

PATH: Final = "/mcp"


async def serve(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """One message."""
    request = mcp.Request()
    try:
        request = mcp.read(await exchange.body())
        if request.id is None:  # A notification: there is nothing that it could change.
            await exchange.send(202, b"", "application/json")
            return
        if request.method == "tools/call":
            result = await _called(kernel, process, exchange, mcp.wanted(request))
        else:
            result = mcp.result(request, lambda: visible(kernel, process))
        await exchange.send_json(200, mcp.answer(request.id, result))
    except mcp.Refusal as refused:
        status = 200 if request.method else 400
        await exchange.send_json(status, mcp.refusal(request.id, refused))


async def _called(
    kernel: Kernel, process: Process, exchange: Exchange, wanted: mcp.Wanted
) -> dict[str, object]:
    call = CallTool(tool=wanted.tool, arguments=wanted.arguments, key=wanted.key)
    try:
        running = syscall.enter(
            kernel,
            process,
            call,
            incarnation=process.row.incarnation,
            narrowing=exchange.narrowing,
        )
        with exchange.watched(running):
            done = await last(running)
    except KernelError as error:
        return mcp.failed(error)
    assert isinstance(done, ToolResult)
    return mcp.said(done.value)


def visible(kernel: Kernel, process: Process) -> list[ToolCard]:
    """All but other processes' functions."""
    line = offers.lineage(kernel, process.id)
    return [
        card
        for card in kernel.tools.cards()
        if not card.owner or card.owner == process.id or (card.shared and card.owner in line)
    ]
