"""The OpenAPI 3.1 document of every route: `GET /openapi.json`, and `docs/openapi.json`.

Our own routes are written from the ABI's types, the dialects' from what we check of them.
"""

import functools
from typing import Final

import msgspec

import orlop
from orlop.abi import admin
from orlop.http.operations.operation import By, Operation, Schema
from orlop.http.operations.schemas import ERRORS, REPLIES, REQUESTS
from orlop.http.operations.table import OPERATIONS
from orlop.http.scope import WITHIN_ONE

REF: Final = "#/components/schemas/{name}"
IN_TENANT: Final = {
    "name": "Orlop-Tenant",
    "in": "header",
    "description": "within which tenant; other tokens than the installation's are of one",
    "schema": {"type": "string"},
}


@functools.cache
def text() -> bytes:
    """The document, as JSON."""
    kinds = [kind for row in OPERATIONS for kind in (row.body, row.reply, row.later)]
    types = [kind for kind in kinds if kind is not None and not isinstance(kind, str | dict)]
    types.append(admin.OutputLine)
    schemas, components = msgspec.json.schema_components(
        types, ref_template=REF, schema_hook=_anything
    )
    of_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for row in OPERATIONS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, of_type)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Orlop",
            "version": orlop.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "The dialects are described as far as the kernel checks them.",
        },
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": {**components, **REQUESTS, **REPLIES, **ERRORS},
        },
    }
    return msgspec.json.encode(document)


def _anything(kind: type) -> dict[str, object]:
    """A field of type `object` takes any JSON."""
    if kind is object:
        return {"description": "any JSON"}
    raise NotImplementedError(kind)


def _operation(row: Operation, of_type: dict[str, dict[str, object]]) -> dict[str, object]:
    content: dict[str, object] = {}
    if row.reply is not None:
        content["application/json"] = {"schema": _schema(row.reply, of_type)}
    if row.stream:
        content[row.stream] = {"schema": {"type": "string"}}
    responses: dict[str, object] = {
        str(row.status): {"description": "done", "content": content},
        "default": {
            "description": "an error, in the words of the dialect",
            "content": {"application/json": {"schema": _schema(_error_of(row.path), of_type)}},
        },
    }
    if row.path == "/ready":
        responses["503"] = responses["200"]
    if row.later is not None:
        schema = _schema(row.later, of_type)
        answer = {"description": "not yet", "content": {"application/json": {"schema": schema}}}
        responses["202"] = answer
    operation: dict[str, object] = {
        "summary": row.summary,
        "parameters": [
            *map(_in_path, _words(row.path)),
            *map(_in_query, row.query),
            *([IN_TENANT] if row.by in WITHIN_ONE else ()),
        ],
        "responses": responses,
    }
    if row.body is not None:
        body = {"schema": _schema(row.body, of_type)}
        operation["requestBody"] = {"required": True, "content": {row.media: body}}
    if row.by in (By.ANYBODY, By.SIGNER):
        operation["security"] = []
    return operation


def _schema(kind: object, of_type: dict[str, dict[str, object]]) -> object:
    if isinstance(kind, str):
        return {"$ref": REF.format(name=kind)}
    return kind if isinstance(kind, dict) else of_type[repr(kind)]


def _error_of(path: str) -> object:
    if path == "/mcp":  # JSON-RPC's, or ours where it is about the token.
        return {"type": "object", "required": ["error"]}
    if path.startswith("/v1/messages"):
        return "AnthropicError"
    return "OpenAIError" if path.startswith("/v1/") else "OrlopError"


def _words(path: str) -> list[str]:
    return [word[1:-1] for word in path.split("/") if word.startswith("{")]


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(name: str) -> Schema:
    kind = "string" if name.endswith("=") else "number"
    return {"name": name.rstrip("="), "in": "query", "schema": {"type": kind}}
