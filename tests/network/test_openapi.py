"""The OpenAPI document is what is really served."""

import json

import pytest
from exact_client import ask
from live_kernel import LiveKernel

from orlop.abi.errors import Broken
from orlop.http import openapi, scope
from orlop.http.operations.operation import By
from orlop.http.operations.table import OPERATIONS


def test_the_document_is_served_to_whoever_has_a_token(kernel: LiveKernel) -> None:
    assert ask(kernel, "/openapi.json", token="").status == 401
    answer = ask(kernel, "/openapi.json")
    assert answer.status == 200
    assert answer.json()["openapi"] == "3.1.0"


def test_every_route_of_the_document_exists_and_every_other_method_does_not(
    kernel: LiveKernel,
) -> None:
    methods: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        if operation.by not in (By.ANYBODY, By.TOKEN):
            methods.setdefault(operation.path, set()).add(operation.method)
    for path, known in methods.items():
        # No route takes PATCH, so the refusal names those that it does take.
        answer = ask(kernel, path.replace("{", "").replace("}", ""), method="PATCH")
        assert answer.status == 405, path
        served = set(answer.headers["allow"].split(", "))
        # One prefix serves `/v1/responses/{id}` and all below it.
        assert known <= served and (known == served or path.endswith("/input_items"))


def test_a_route_of_which_nobody_said_who_may_ask_it_is_not_served() -> None:
    with pytest.raises(Broken, match="POST vaults has no row"):
        scope.require_rows([("GET", "processes"), ("POST", "vaults")])


def test_no_route_is_described_twice() -> None:
    assert len({operation.pattern for operation in OPERATIONS}) == len(OPERATIONS)


def test_every_schema_that_is_named_is_there() -> None:
    text = openapi.text().decode()
    document = json.loads(text)
    for name in document["components"]["schemas"]:
        assert name
    for piece in text.split('"$ref":"')[1:]:
        name = piece.split('"', 1)[0].rpartition("/")[2]
        assert name in document["components"]["schemas"]
    assert len(document["paths"]) == len({operation.path for operation in OPERATIONS})
