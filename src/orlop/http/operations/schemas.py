"""The dialects' bodies as JSON schemas, as far as we check them; all else is the dialect's own.

OpenAI's and Anthropic's documentation says the rest: what we do not know is passed on to engines.
"""

from typing import Final

from orlop.abi.limits import (
    CHOICES_MAX,
    EMBED_INPUTS_MAX,
    LOGPROBS_TOP_MAX,
    MESSAGES_PER_CALL_MAX,
    PROMPTS_PER_COMPLETION_MAX,
    STOP_SEQUENCES_MAX,
    TOKEN_MAX,
)
from orlop.http.operations.operation import Schema

NAME: Final[Schema] = {"type": "string", "minLength": 1}
TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": ["boolean", "null"]}
OBJECT: Final[Schema] = {"type": "object"}
TOKENS: Final[Schema] = {"type": ["integer", "null"], "minimum": 1, "maximum": TOKEN_MAX}
STOP: Final[Schema] = {
    "type": ["string", "array", "null"],
    "items": TEXT,
    "maxItems": STOP_SEQUENCES_MAX,
}


def within(low: float, high: float) -> Schema:
    return {"type": ["number", "null"], "minimum": low, "maximum": high}


def several(item: Schema, limit: int | None = None, least: int = 0) -> Schema:
    many: Schema = {"type": "array", "items": item, "minItems": least}
    return many if limit is None else {**many, "maxItems": limit}


def taking(required: tuple[str, ...], fields: Schema) -> Schema:
    """An object of which we check `fields`."""
    return {"type": "object", "required": list(required), "properties": fields}


SAMPLING: Final[Schema] = {
    "temperature": within(0, 100),
    "top_p": within(0, 1),
    "stop": STOP,
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": CHOICES_MAX},
    "seed": {"type": ["integer", "null"], "minimum": -(2**53) + 1, "maximum": 2**53 - 1},
    "presence_penalty": within(-100, 100),
    "frequency_penalty": within(-100, 100),
    "logit_bias": {"type": ["object", "null"], "additionalProperties": within(-100, 100)},
    "max_tokens": TOKENS,
    "stream": FLAG,
    "stream_options": {"type": ["object", "null"], "properties": {"include_usage": FLAG}},
    "service_tier": {"type": ["string", "null"]},
}

MESSAGE: Final[Schema] = taking(
    ("role",),
    {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {"type": ["string", "array", "null"], "items": OBJECT},
        "tool_calls": {"type": ["array", "null"], "items": OBJECT},
        "tool_call_id": {"type": ["string", "null"]},
    },
)
TOOL: Final[Schema] = taking(
    ("type",), {"type": TEXT, "function": taking(("name",), {"name": NAME, "parameters": OBJECT})}
)

REQUESTS: Final[dict[str, Schema]] = {
    "ChatRequest": taking(
        ("model", "messages"),
        {
            **SAMPLING,
            "model": NAME,
            "messages": several(MESSAGE, MESSAGES_PER_CALL_MAX, 1),
            "tools": {"type": ["array", "null"], "items": TOOL},
            "tool_choice": {"type": ["string", "object", "null"]},
            "parallel_tool_calls": FLAG,
            "response_format": {"type": ["object", "null"], "properties": {"type": TEXT}},
            "max_completion_tokens": TOKENS,
            "logprobs": FLAG,
            "top_logprobs": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": LOGPROBS_TOP_MAX,
            },
        },
    ),
    "TextRequest": taking(
        ("model", "prompt"),
        {
            **SAMPLING,
            "model": NAME,
            "prompt": {"type": ["string", "array"], "maxItems": PROMPTS_PER_COMPLETION_MAX},
            "suffix": {"type": ["string", "null"]},
            "echo": FLAG,
        },
    ),
    "EmbeddingRequest": taking(
        ("model", "input"),
        {
            "model": NAME,
            "input": {"type": ["string", "array"], "items": TEXT, "maxItems": EMBED_INPUTS_MAX},
            "dimensions": {"type": ["integer", "null"], "minimum": 1},
            "encoding_format": {"enum": ["float", "base64", None]},
        },
    ),
    "ResponsesRequest": taking(
        ("model", "input"),
        {
            "model": NAME,
            "input": {"type": ["string", "array"], "items": OBJECT},
            "instructions": {"type": ["string", "null"]},
            "previous_response_id": {"type": ["string", "null"]},
            "tools": {"type": ["array", "null"], "items": OBJECT},
            "temperature": within(0, 100),
            "top_p": within(0, 1),
            "max_output_tokens": TOKENS,
            "stream": FLAG,
            "store": FLAG,
        },
    ),
    "MessagesRequest": taking(
        ("model", "max_tokens", "messages"),
        {
            "model": NAME,
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": TOKEN_MAX},
            "messages": several(
                taking(
                    ("role", "content"),
                    {
                        "role": {"enum": ["user", "assistant", "system"]},
                        "content": {"type": ["string", "array"], "items": OBJECT},
                    },
                ),
                MESSAGES_PER_CALL_MAX,
                1,
            ),
            "system": {"type": ["string", "array", "null"], "items": OBJECT},
            "tools": {"type": ["array", "null"], "items": OBJECT},
            "stop_sequences": {
                "type": ["array", "null"],
                "items": TEXT,
                "maxItems": STOP_SEQUENCES_MAX,
            },
            "temperature": within(0, 100),
            "top_p": within(0, 1),
            "stream": FLAG,
        },
    ),
}

LIST: Final = taking(("object", "data"), {"object": {"const": "list"}, "data": several(OBJECT)})

REPLIES: Final[dict[str, Schema]] = {
    "ChatReply": taking(
        ("id", "object", "created", "model", "choices", "usage"),
        {"object": {"const": "chat.completion"}, "choices": several(OBJECT, least=1)},
    ),
    "TextReply": taking(
        ("id", "object", "created", "model", "choices", "usage"),
        {"object": {"const": "text_completion"}, "choices": several(OBJECT, least=1)},
    ),
    "EmbeddingReply": LIST,
    "ModelList": LIST,
    "ItemList": LIST,
    "Model": taking(("id", "object"), {"id": TEXT, "object": {"const": "model"}}),
    "ResponsesReply": taking(
        ("id", "object", "status", "output"),
        {"object": {"const": "response"}, "status": TEXT, "output": several(OBJECT)},
    ),
    "MessagesReply": taking(
        ("id", "type", "role", "content", "usage"),
        {"type": {"const": "message"}, "content": several(OBJECT)},
    ),
}

SAID: Final[Schema] = {"type": "string", "minLength": 1}

ERRORS: Final[dict[str, Schema]] = {
    "OpenAIError": taking(
        ("error",),
        {
            "error": taking(
                ("message", "type", "param", "code"),
                {
                    "message": SAID,
                    "type": TEXT,
                    "param": {"type": ["string", "null"]},
                    "code": TEXT,
                },
            )
        },
    ),
    "AnthropicError": taking(
        ("type", "error"),
        {
            "type": {"const": "error"},
            "error": taking(("type", "message"), {"type": TEXT, "message": SAID}),
        },
    ),
    "OrlopError": taking(
        ("error",),
        {
            "error": taking(
                ("code", "name", "message", "fix", "fault", "retry", "retry_after_s"),
                {"code": TEXT, "message": SAID, "retry": {"type": "boolean"}},
            )
        },
    ),
}
