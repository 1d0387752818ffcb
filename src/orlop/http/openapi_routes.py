"""Every route of the HTTP API as a row; a test holds the table against what is really served."""

from typing import Final

from orlop.abi import (
    admin,
    budgets,
    cards,
    devices,
    egress,
    kernels,
    overview,
    residency,
    tools,
)
from orlop.abi.calls import Call, Spawn
from orlop.abi.replies import Done
from orlop.http import (
    openapi_effects,
    openapi_files,
    openapi_memory,
    openapi_people,
    openapi_policy,
    openapi_rights,
    openapi_tenants,
)
from orlop.http.openapi_dialects import Schema
from orlop.http.openapi_operation import NDJSON, OURS, SSE, Operation

EMPTY: Final[Schema] = {"type": "object", "maxProperties": 0}
READY: Final[Schema] = {
    "type": "object",
    "required": ["ready", "missing"],
    "properties": {
        "ready": {"type": "boolean"},
        "missing": {"type": "array", "items": {"type": "string"}},
    },
}
PARKED: Final[Schema] = {
    "type": "object",
    "required": ["call"],
    "properties": {"call": {"type": "string"}},
}


PUBLIC: Final = (
    Operation(
        method="GET",
        path="/health",
        summary="The kernel's process answers",
        reply={"type": "object"},
        public=True,
    ),
    Operation(
        method="GET",
        path="/ready",
        summary="Calls are admitted and an engine answers; 503 says what is missing",
        reply=READY,
        public=True,
    ),
    Operation(
        method="GET",
        path="/metrics",
        summary="For Prometheus; open to all where http.open says so",
        stream="text/plain",
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        summary="This document; open to all where http.open says so",
        reply={"type": "object"},
    ),
)

DIALECTS: Final = (
    Operation(
        method="POST",
        path="/v1/chat/completions",
        summary="OpenAI: chat completions",
        body="ChatRequest",
        reply="ChatReply",
        stream=SSE,
    ),
    Operation(
        method="POST",
        path="/v1/completions",
        summary="OpenAI: the old completions",
        body="TextRequest",
        reply="TextReply",
        stream=SSE,
    ),
    Operation(
        method="POST",
        path="/v1/embeddings",
        summary="OpenAI: embeddings",
        body="EmbeddingRequest",
        reply="EmbeddingReply",
    ),
    Operation(method="GET", path="/v1/models", summary="OpenAI: models", reply="ModelList"),
    Operation(method="GET", path="/v1/models/{model}", summary="OpenAI: one model", reply="Model"),
    Operation(
        method="POST",
        path="/v1/responses",
        summary="OpenAI: Responses",
        body="ResponsesRequest",
        reply="ResponsesReply",
        stream=SSE,
    ),
    Operation(
        method="GET",
        path="/v1/responses/{response}",
        summary="OpenAI: a response, read back from the journal",
        reply="ResponsesReply",
        query=("stream=",),
    ),
    Operation(
        method="GET",
        path="/v1/responses/{response}/input_items",
        summary="OpenAI: what a response was given",
        reply="ItemList",
        query=("limit", "order=", "after="),
    ),
    Operation(
        method="DELETE",
        path="/v1/responses/{response}",
        summary="OpenAI: always refused, since what was answered stays in the journal",
        reply={"type": "object"},
    ),
    Operation(
        method="POST",
        path="/v1/messages",
        summary="Anthropic: Messages",
        body="MessagesRequest",
        reply="MessagesReply",
        stream=SSE,
    ),
    Operation(
        method="POST",
        path="/v1/messages/count_tokens",
        summary="Anthropic: always refused, since only an engine could count",
        body={"type": "object"},
        reply={"type": "object"},
    ),
)

PROCESSES: Final = (
    Operation(
        method="POST",
        path=f"{OURS}/calls",
        summary="Any system call; a parked one (sleep, wait) answers 202 and its id",
        body=Call,
        reply=Done,
        stream=NDJSON,
        later=PARKED,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/calls/{{call}}",
        summary="The answer of a parked call",
        reply=Done,
        query=("wait",),
        later=PARKED,
    ),
    *openapi_files.PROCESSES,
    *openapi_effects.PROCESSES,
    *openapi_rights.PROCESSES,
)
"""Our own routes for processes."""

OPERATORS: Final = (
    *openapi_files.OPERATORS,
    Operation(method="GET", path=f"{OURS}/info", summary="Where all is", reply=admin.Info),
    Operation(
        method="GET",
        path=f"{OURS}/inventory",
        summary="Engines, models, tools, hardware",
        reply=admin.Inventory,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/pulled",
        summary="Models have been pulled: look again",
        reply=admin.Inventory,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/models",
        summary="Where each model lies, and what its cold start costs",
        reply=residency.ResidencyView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/overview",
        summary="Queues, engines, programs, models and processes at one look",
        reply=overview.Overview,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/models",
        summary="Load, unload, pin or unpin a model",
        body=residency.ModelOrder,
        reply=residency.ResidencyView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/tools",
        summary="Tools, and what their servers say of them",
        reply=list[tools.ToolView],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/tools/{{tool}}",
        summary="One tool",
        reply=tools.ToolView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/tools/{{tool}}/trust",
        summary="Agree to what a server says of its tool now",
        body=tools.TrustOrder,
        reply=tools.ToolView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/devices",
        summary="Devices, their health, their claims",
        reply=devices.DeviceTable,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/devices/{{device}}",
        summary="One device",
        reply=devices.DeviceCard,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/devices/{{device}}/drain",
        summary="Give it no more work",
        body=devices.DrainOrder,
        reply=devices.DeviceCard,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/devices/{{device}}/restore",
        summary="Say that it is sound again",
        reply=devices.DeviceCard,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/claims",
        summary="Give a process a device, or a part of one",
        body=devices.ClaimPlacement,
        reply=devices.ClaimView,
        status=201,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/claims/{{claim}}",
        summary="Take a claim back",
        reply=EMPTY,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/cards",
        summary="Models that come in several forms",
        reply=tuple[cards.CardView, ...],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/cards/{{card}}",
        summary="One of them, and which form serves",
        reply=cards.CardView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/cards",
        summary="What a form scored on a labelled set",
        body=cards.Measured,
        reply=cards.CardView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/kernels",
        summary="The kernels that share this one's database",
        reply=tuple[kernels.KernelView, ...],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/journal/prune",
        summary="Forget what was said in old calls of ended processes",
        body=kernels.PruneOrder,
        reply=kernels.PruneView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/journal/forget/{{tenant}}",
        summary="Throw a tenant's key away: nothing that it sealed can be read again",
        body=kernels.ForgetOrder,
        reply=EMPTY,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/processes",
        summary="The process table",
        reply=tuple[admin.ProcessView, ...],
        query=("all",),
    ),
    Operation(
        method="POST",
        path=f"{OURS}/processes",
        summary="Start a program",
        body=Spawn,
        reply=admin.ProcessView,
        status=201,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/processes/{{process}}",
        summary="One process",
        reply=admin.ProcessView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/processes/{{process}}/signal",
        summary="Send a signal",
        body=admin.SignalOrder,
        reply=admin.ProcessView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/processes/{{process}}/resume",
        summary="Start it again, with its record",
        body=admin.ResumeOrder,
        reply=admin.ProcessView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/processes/{{process}}/replay",
        summary="Run it again from the record alone",
        body=admin.ReplayOrder,
        reply=admin.ProcessView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/processes/{{process}}/wait",
        summary="Until it has ended; 202 if it has not in time",
        reply=admin.ProcessView,
        query=("timeout",),
        later=admin.ProcessView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/processes/{{process}}/logs",
        summary="What it printed, in lines of `OutputLine`",
        stream=NDJSON,
        query=("incarnation", "stream=", "offset", "follow"),
    ),
    Operation(
        method="GET",
        path=f"{OURS}/processes/{{process}}/trace",
        summary="Its calls and its children's",
        reply=admin.Trace,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/processes/{{process}}/coverage",
        summary="Which share of its effects passed the door",
        reply=egress.Coverage,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/processes/{{process}}/egress",
        summary="What it has sent through the proxy",
        reply=egress.EgressRow,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/budgets",
        summary="What accounts may use, have used, and hold",
        reply=budgets.BudgetTable,
        query=("all",),
    ),
    Operation(
        method="POST",
        path=f"{OURS}/budgets",
        summary="Say what an account may use",
        body=budgets.BudgetOrder,
        reply=budgets.BudgetTable,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/budgets/{{account}}",
        summary="One account",
        reply=budgets.AccountView,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/budgets/{{account}}",
        summary="Take a budget back that was set",
        reply=budgets.BudgetTable,
    ),
    Operation(method="GET", path=f"{OURS}/keys", summary="Keys", reply=tuple[admin.KeyView, ...]),
    Operation(
        method="POST",
        path=f"{OURS}/keys",
        summary="Make a key; its secret is shown once",
        body=admin.KeyOrder,
        reply=admin.NewKey,
    ),
    Operation(method="DELETE", path=f"{OURS}/keys/{{key}}", summary="Revoke a key", reply=EMPTY),
    *openapi_rights.OPERATIONS,
    *openapi_tenants.OPERATIONS,
    Operation(
        method="GET",
        path=f"{OURS}/schedules",
        summary="Schedules",
        reply=tuple[admin.ScheduleView, ...],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/schedules",
        summary="Run a program later, or again and again",
        body=admin.ScheduleOrder,
        reply=admin.ScheduleView,
        status=201,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/schedules/{{schedule}}",
        summary="Remove a schedule",
        reply=EMPTY,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/journal/export",
        summary="Events with their headers, one a line",
        stream=NDJSON,
        query=("first", "last", "process="),
    ),
)
"""Our own routes for operators."""

OPERATIONS: Final = (
    *PUBLIC,
    *DIALECTS,
    *PROCESSES,
    *OPERATORS,
    *openapi_effects.OPERATIONS,
    *openapi_memory.OPERATIONS,
    *openapi_people.OPERATIONS,
    *openapi_policy.OPERATIONS,
)
