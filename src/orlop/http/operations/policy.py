"""The policy: in force, on trial, explained."""

from typing import Final

from orlop.abi import policy
from orlop.http.operations.operation import By, Operation

OPERATIONS: Final = (
    Operation(
        By.TENANT,
        "GET policy",
        "The policy in force, what it has decided, and its shadow",
        reply=policy.PolicyView,
    ),
    Operation(
        By.TENANT,
        "POST policy",
        "Put a policy in force, or beside the one that is",
        body=policy.PolicyOrder,
        reply=policy.PolicyView,
    ),
    Operation(
        By.TENANT,
        "DELETE policy",
        "Back to what is built in; with shadow=1: no shadow any more",
        reply=policy.PolicyView,
        query=("shadow",),
    ),
    Operation(
        By.INSTALLATION,
        "POST policy/reload",
        "Read the folders of orlop.toml again",
        reply=policy.PolicyView,
    ),
    Operation(
        By.TENANT,
        "POST policy/check",
        "What is wrong with a policy; nothing changes",
        body=policy.PolicyOrder,
        reply=policy.PolicyReport,
    ),
    Operation(
        By.TENANT,
        "POST policy/test",
        "Decide written cases",
        body=policy.CaseOrder,
        reply=list[policy.CaseResult],
    ),
    Operation(
        By.TENANT,
        "POST policy/diff",
        "How a policy differs from the one in force",
        body=policy.PolicyOrder,
        reply=list[policy.RuleChange],
    ),
    Operation(
        By.TENANT,
        "POST policy/backtest",
        "What a policy would have decided of the calls in the journal",
        body=policy.BacktestOrder,
        reply=policy.BacktestReport,
    ),
    Operation(
        By.TENANT,
        "GET policy/templates",
        "Policies to begin with, by name",
        reply=dict[str, dict[str, str]],
    ),
    Operation(
        By.TENANT,
        "GET policy/why/{call}",
        "Which rules decided a call, and with what facts",
        reply=policy.Explanation,
    ),
)
