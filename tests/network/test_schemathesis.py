"""Schemathesis over our own OpenAPI document: what we say of ourselves holds, and no call is a bug.

What starts programs or ends processes is kept to harmless values: only to commands that do not
exist, and only at processes that do not exist.
"""

import json

import hypothesis
import schemathesis
from exact_client import operator_token
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
schema = schemathesis.openapi.from_dict(document, config=config)


@schema.parametrize()
@settings
@hypothesis.seed(SEED)
def test_no_call_is_answered_with_a_bug(
    case: schemathesis.Case,  # type: ignore[type-arg]  # Of any operation.
    kernel: LiveKernel,
) -> None:
    tame(case)
    token = kernel.key if case.path.startswith("/v1/") else operator_token(kernel)
    case.call_and_validate(
        base_url=kernel.url,
        headers={"authorization": f"Bearer {token}"},
        timeout=TIMEOUT_S,
        checks=CHECKS,
    )


def tame(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
    """Half of the calls get a model that exists; none gets a command or a process that does."""
    body = case.body
    if "process" in case.path_parameters:
        case.path_parameters["process"] = "nobody"
    if isinstance(case.query, dict):
        case.query = {**case.query, "timeout": 0, "wait": 0}
    if not isinstance(body, dict):
        return
    if "model" in body and len(json.dumps(body, default=str)) % 2:
        body["model"] = "fake-embed" if "embed" in case.path else "fake"
    if "command" in body:
        body["command"] = ["/nowhere/at/all"]
    if "process" in body:
        body["process"] = "nobody"
    if "restart" in body:
        body["restart"] = "never"
    if body.get("type") == "exit":
        body["type"] = "outcome"
    if "seconds" in body:
        body["seconds"] = -1
