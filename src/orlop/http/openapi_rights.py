"""The routes for rights and tokens, as rows of the API's description."""

from typing import Final

from orlop.abi import capabilities
from orlop.http.openapi_operation import OURS, Operation

PROCESSES: Final = (
    Operation(
        method="POST",
        path=f"{OURS}/token",
        summary="A token of the caller's own process, with what it may do now",
        reply=capabilities.TokenOrder,
        status=201,
    ),
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path=f"{OURS}/processes/{{process}}/rights",
        summary="What a process may do",
        reply=capabilities.RightsView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/processes/{{process}}/grant",
        summary="Give a process a right that its parent holds",
        body=capabilities.RightsOrder,
        reply=capabilities.RightsView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/processes/{{process}}/revoke",
        summary="Take a right from a process and its descendants",
        body=capabilities.RightsOrder,
        reply=capabilities.RightsView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/tokens/read",
        summary="What a token says, and whether it is accepted",
        body=capabilities.TokenOrder,
        reply=capabilities.TokenView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/tokens/revoke",
        summary="Refuse a token, and all that were narrowed from it",
        body=capabilities.RevokeOrder,
        reply=capabilities.RevokedView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/tokens/revoked",
        summary="Revoked tokens",
        reply=tuple[capabilities.RevokedView, ...],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/tokens/keys",
        summary="The public keys that tokens are checked with",
        reply=tuple[capabilities.SigningKeyView, ...],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/tokens/rotate",
        summary="Sign with a new key; earlier ones are accepted for a while",
        body=capabilities.RotateOrder,
        reply=capabilities.SigningKeyView,
        status=201,
    ),
)
