"""The routes for tools' effects, as rows of the API's description."""

from typing import Final

from orlop.abi import devices, sagas, tools
from orlop.abi import effects as words
from orlop.http.openapi_operation import NDJSON, OURS, Operation

PROCESSES: Final = (
    Operation(
        method="POST",
        path=f"{OURS}/functions",
        summary="Offer functions as tools; what is to be done comes one a line",
        body=tools.OfferOrder,
        stream=NDJSON,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/functions/{{errand}}",
        summary="What a function came to",
        body=tools.FunctionAnswer,
        reply={"type": "object", "maxProperties": 0},
    ),
    Operation(
        method="POST",
        path=f"{OURS}/process/claims",
        summary="Claim a device, or a part of one, for work that is no model call",
        body=devices.ClaimOrder,
        reply=devices.ClaimView,
        status=201,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/process/claims/{{claim}}",
        summary="Wait to hear that the device must be left",
        reply=devices.Notice,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/process/claims/{{claim}}",
        summary="Give a device back",
        reply={"type": "object", "maxProperties": 0},
    ),
    Operation(
        method="POST",
        path="/mcp",
        summary="The kernel's tools over the Model Context Protocol: one message",
        body={"type": "object", "required": ["jsonrpc", "method"]},
        reply={"type": "object"},
    ),
)
"""For processes."""

OPERATIONS: Final = (
    Operation(
        method="GET",
        path=f"{OURS}/effects",
        summary="Effects that may have happened, and need a person's word",
        reply=list[words.EffectView],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/effects/{{effect}}/settle",
        summary="Say whether one happened",
        body=words.SettleOrder,
        reply=words.EffectView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/systems",
        summary="External systems, and what they bear",
        reply=list[tools.SystemView],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/sagas",
        summary="Sagas that are not over; with all=1 also those that are",
        reply=list[sagas.SagaView],
        query=("all",),
    ),
    Operation(
        method="GET",
        path=f"{OURS}/sagas/{{saga}}",
        summary="One saga, step by step",
        reply=sagas.SagaView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/sagas/{{saga}}/settle",
        summary="Say that its stuck step is undone, or let it be tried again",
        body=sagas.SagaOrder,
        reply=sagas.SagaView,
    ),
)
"""For operators."""
