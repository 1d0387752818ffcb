"""The routes for tenants, as rows of the API's description."""

from typing import Final

from orlop.abi import tenants
from orlop.http.openapi_operation import OURS, Operation

OPERATIONS: Final = (
    Operation(
        method="GET",
        path=f"{OURS}/tenants",
        summary="Who shares this installation; with all=1 also those that were removed",
        reply=list[tenants.TenantView],
        query=("all",),
    ),
    Operation(
        method="POST",
        path=f"{OURS}/tenants",
        summary="Make a tenant",
        body=tenants.TenantOrder,
        reply=tenants.TenantView,
        status=201,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/tenants/{{tenant}}",
        summary="One tenant",
        reply=tenants.TenantView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/tenants/{{tenant}}/remove",
        summary="End its clients, take its keys and schedules back, close its name",
        body=tenants.TenantRemoval,
        reply=tenants.TenantView,
    ),
)
