"""Schemathesis over our own OpenAPI document: what we say of ourselves holds, and no call is a bug.

What starts programs or ends processes is kept to harmless values: only commands that do not exist,
and only a client's process that nobody needs.
"""

import json
from typing import Final

import hypothesis
import schemathesis
from exact_client import CHAT, ask, chat, operator_token
from live_kernel import LiveKernel
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)

from orlop.http import openapi

EXAMPLES = 12
"""Of each route."""

SEED = 20_260_731
TIMEOUT_S = 20.0
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]

HARMLESS: Final[dict[str, str | int]] = {
    "process": "bystander",
    "restart": "never",
    "seconds": -1,
    "when": "at 2099-01-01T00:00",
}
"""Fields that could start or end something, and what they are made."""

settings = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
config = SchemathesisConfig()
config.projects.default.generation = GenerationConfig(
    modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], allow_x00=True
)
document = json.loads(openapi.text())
schema = schemathesis.openapi.from_dict(document, config=config).exclude(
    # Its answer lasts as long as its program: tests/clients/test_functions.py has one.
    path="/orlop/v1/functions",
    method="POST",
)


@schema.parametrize()
@settings
@hypothesis.seed(SEED)
def test_no_call_is_answered_with_a_bug(
    case: schemathesis.Case,  # type: ignore[type-arg]  # Of any operation.
    kernel: LiveKernel,
) -> None:
    tame(case)
    ask(kernel, CHAT, chat(), headers={"orlop-process": "bystander"})
    token = kernel.key if case.path.startswith("/v1/") else operator_token(kernel)
    case.call_and_validate(
        base_url=kernel.url,
        headers={"authorization": f"Bearer {token}"},
        timeout=TIMEOUT_S,
        checks=CHECKS,
    )


def tame(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
    """Half of the calls could be served; none gets a command that exists, or a process in use."""
    body = case.body
    is_served = len(json.dumps(body, default=str)) % 2 == 0
    if "process" in case.path_parameters:
        case.path_parameters["process"] = "bystander"
    if "model" in case.path_parameters and is_served:
        case.path_parameters["model"] = "fake"
    if isinstance(case.query, dict):
        case.query = {**case.query, "timeout": 0, "wait": 0}
        if case.query.get("follow") == 1:  # An answer that would last as long as its process.
            case.query["follow"] = 0
    if not isinstance(body, dict):
        return
    if is_served and "model" in body:
        body["model"] = "fake-embed" if "embed" in case.path else "fake"
    if body.get("type") == "exit":
        body["type"] = "outcome"
    if "command" in body:
        body["command"] = ["/nowhere/at/all"]
    for name in body.keys() & HARMLESS.keys():
        body[name] = HARMLESS[name]
