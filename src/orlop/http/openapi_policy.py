"""The routes for the policy, as rows of the API's description."""

from typing import Final

from orlop.abi import policy as words
from orlop.http.openapi_operation import OURS, Operation

OPERATIONS: Final = (
    Operation(
        method="GET",
        path=f"{OURS}/policy",
        summary="The policy in force, what it has decided, and its shadow",
        reply=words.PolicyView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/policy",
        summary="Put a policy in force, or beside the one that is",
        body=words.PolicyOrder,
        reply=words.PolicyView,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/policy",
        summary="Back to what is built in; with shadow=1: no shadow any more",
        reply=words.PolicyView,
        query=("shadow",),
    ),
    Operation(
        method="POST",
        path=f"{OURS}/policy/reload",
        summary="Read the folders of orlop.toml again",
        reply=words.PolicyView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/policy/check",
        summary="What is wrong with a policy; nothing changes",
        body=words.PolicyOrder,
        reply=words.PolicyReport,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/policy/test",
        summary="Decide written cases",
        body=words.CaseOrder,
        reply=list[words.CaseResult],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/policy/diff",
        summary="How a policy differs from the one in force",
        body=words.PolicyOrder,
        reply=list[words.RuleChange],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/policy/backtest",
        summary="What a policy would have decided of the calls in the journal",
        body=words.BacktestOrder,
        reply=words.BacktestReport,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/policy/templates",
        summary="Policies to begin with, by name",
        reply=dict[str, dict[str, str]],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/policy/why/{{call}}",
        summary="Which rules decided a call, and with what facts",
        reply=words.Explanation,
    ),
)
"""For operators."""
