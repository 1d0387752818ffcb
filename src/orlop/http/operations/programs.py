"""What processes ask of their own kernel, and clients with a key."""

from typing import Final

from orlop.abi import capabilities, devices, files, tools
from orlop.abi.calls import Call
from orlop.abi.replies import Done
from orlop.http.operations.operation import BYTES, NDJSON, NOTHING, By, Operation, Schema

CONTENT: Final[Schema] = {"type": "string", "format": "binary"}
PARKED: Final[Schema] = {
    "type": "object",
    "required": ["call"],
    "properties": {"call": {"type": "string"}},
}

OPERATIONS: Final = (
    Operation(
        By.PROCESS,
        "POST calls",
        "Any system call; a parked one (sleep, wait) answers 202 and its id",
        body=Call,
        reply=Done,
        stream=NDJSON,
        later=PARKED,
    ),
    Operation(
        By.PROCESS,
        "GET calls/{call}",
        "The answer of a parked call",
        reply=Done,
        query=("wait",),
        later=PARKED,
    ),
    Operation(
        By.PROCESS,
        "POST pieces",
        "Store a piece of content, which a `write` may then name",
        body=CONTENT,
        media=BYTES,
        reply=files.PieceStored,
    ),
    Operation(
        By.PROCESS,
        "GET files",
        "A file's bytes; of any size",
        query=("path=", "version", "at="),
        stream=BYTES,
    ),
    Operation(
        By.PROCESS,
        "POST files",
        "Write a file from the body; of any size up to files.bytes_max",
        query=("path=", "append", "if_version"),
        body=CONTENT,
        media=BYTES,
        reply=files.Changed,
    ),
    Operation(
        By.PROCESS,
        "DELETE files",
        "Delete a file or a folder; its versions stay",
        query=("path=",),
        reply=files.Changed,
    ),
    Operation(
        By.PROCESS,
        "POST functions",
        "Offer functions as tools; what is to be done comes one a line",
        body=tools.OfferOrder,
        stream=NDJSON,
    ),
    Operation(
        By.PROCESS,
        "POST functions/{errand}",
        "What a function came to",
        body=tools.FunctionAnswer,
        reply=NOTHING,
    ),
    Operation(
        By.PROCESS,
        "POST process/claims",
        "Claim a device, or a part of one, for work that is no model call",
        body=devices.ClaimOrder,
        reply=devices.ClaimView,
        status=201,
    ),
    Operation(
        By.PROCESS,
        "GET process/claims/{claim}",
        "Wait to hear that the device must be left",
        reply=devices.Notice,
    ),
    Operation(By.PROCESS, "DELETE process/claims/{claim}", "Give a device back", reply=NOTHING),
    Operation(
        By.PROCESS,
        "POST /mcp",
        "The kernel's tools over the Model Context Protocol: one message",
        body={"type": "object", "required": ["jsonrpc", "method"]},
        reply={"type": "object"},
    ),
    Operation(
        By.PROCESS,
        "POST token",
        "A token of the caller's own process, with what it may do now",
        reply=capabilities.TokenOrder,
        status=201,
    ),
)
