"""What is asked as OpenAI and Anthropic have it, and what tells of the kernel itself."""

from typing import Final

from orlop.http.operations.operation import SSE, By, Operation, Schema

READY: Final[Schema] = {
    "type": "object",
    "required": ["ready", "missing"],
    "properties": {
        "ready": {"type": "boolean"},
        "missing": {"type": "array", "items": {"type": "string"}},
    },
}

OPERATIONS: Final = (
    Operation(By.ANYBODY, "GET /health", "The kernel's process answers", reply={"type": "object"}),
    Operation(
        By.ANYBODY,
        "GET /ready",
        "Calls are admitted and an engine answers; 503 says what is missing",
        reply=READY,
    ),
    Operation(
        By.TOKEN,
        "GET /metrics",
        "For Prometheus; open to all where http.open says so",
        stream="text/plain",
    ),
    Operation(
        By.TOKEN,
        "GET /openapi.json",
        "This document; open to all where http.open says so",
        reply={"type": "object"},
    ),
    Operation(
        By.PROCESS,
        "POST /v1/chat/completions",
        "OpenAI: chat completions",
        body="ChatRequest",
        reply="ChatReply",
        stream=SSE,
    ),
    Operation(
        By.PROCESS,
        "POST /v1/completions",
        "OpenAI: the old completions",
        body="TextRequest",
        reply="TextReply",
        stream=SSE,
    ),
    Operation(
        By.PROCESS,
        "POST /v1/embeddings",
        "OpenAI: embeddings",
        body="EmbeddingRequest",
        reply="EmbeddingReply",
    ),
    Operation(By.PROCESS, "GET /v1/models", "OpenAI: models", reply="ModelList"),
    Operation(By.PROCESS, "GET /v1/models/{model}", "OpenAI: one model", reply="Model"),
    Operation(
        By.PROCESS,
        "POST /v1/responses",
        "OpenAI: Responses",
        body="ResponsesRequest",
        reply="ResponsesReply",
        stream=SSE,
    ),
    Operation(
        By.PROCESS,
        "GET /v1/responses/{response}",
        "OpenAI: a response, read back from the journal",
        reply="ResponsesReply",
        query=("stream=",),
    ),
    Operation(
        By.PROCESS,
        "GET /v1/responses/{response}/input_items",
        "OpenAI: what a response was given",
        reply="ItemList",
        query=("limit", "order=", "after="),
    ),
    Operation(
        By.PROCESS,
        "DELETE /v1/responses/{response}",
        "OpenAI: always refused, since what was answered stays in the journal",
        reply={"type": "object"},
    ),
    Operation(
        By.PROCESS,
        "POST /v1/messages",
        "Anthropic: Messages",
        body="MessagesRequest",
        reply="MessagesReply",
        stream=SSE,
    ),
    Operation(
        By.PROCESS,
        "POST /v1/messages/count_tokens",
        "Anthropic: always refused, since only an engine could count",
        body={"type": "object"},
        reply={"type": "object"},
    ),
)
