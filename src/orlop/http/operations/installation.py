"""What all tenants share: models, devices, kernels, the journal, and the tenants themselves."""

from typing import Final

from orlop.abi import admin, cards, devices, kernels, overview, residency, tenants
from orlop.http.operations.operation import NOTHING, By, Operation

OPERATIONS: Final = (
    Operation(By.INSTALLATION, "GET info", "Where all is", reply=admin.Info),
    Operation(
        By.INSTALLATION, "GET inventory", "Engines, models, tools, hardware", reply=admin.Inventory
    ),
    Operation(
        By.INSTALLATION, "POST pulled", "Models have been pulled: look again", reply=admin.Inventory
    ),
    Operation(
        By.INSTALLATION,
        "GET models",
        "Where each model lies, and what its cold start costs",
        reply=residency.ResidencyView,
    ),
    Operation(
        By.INSTALLATION,
        "GET overview",
        "Queues, engines, programs, models and processes at one look",
        reply=overview.Overview,
    ),
    Operation(
        By.INSTALLATION,
        "POST models",
        "Load, unload, pin or unpin a model",
        body=residency.ModelOrder,
        reply=residency.ResidencyView,
    ),
    Operation(
        By.INSTALLATION,
        "GET devices",
        "Devices, their health, their claims",
        reply=devices.DeviceTable,
    ),
    Operation(By.INSTALLATION, "GET devices/{device}", "One device", reply=devices.DeviceCard),
    Operation(
        By.INSTALLATION,
        "POST devices/{device}/drain",
        "Give it no more work",
        body=devices.DrainOrder,
        reply=devices.DeviceCard,
    ),
    Operation(
        By.INSTALLATION,
        "POST devices/{device}/restore",
        "Say that it is sound again",
        reply=devices.DeviceCard,
    ),
    Operation(
        By.HOUSE,
        "POST claims",
        "Give a process a device, or a part of one",
        body=devices.ClaimPlacement,
        reply=devices.ClaimView,
        status=201,
    ),
    Operation(By.INSTALLATION, "DELETE claims/{claim}", "Take a claim back", reply=NOTHING),
    Operation(
        By.INSTALLATION,
        "GET cards",
        "Models that come in several forms",
        reply=tuple[cards.CardView, ...],
    ),
    Operation(
        By.INSTALLATION,
        "GET cards/{card}",
        "One of them, and which form serves",
        reply=cards.CardView,
    ),
    Operation(
        By.INSTALLATION,
        "POST cards",
        "What a form scored on a labelled set",
        body=cards.Measured,
        reply=cards.CardView,
    ),
    Operation(
        By.INSTALLATION,
        "GET kernels",
        "The kernels that share this one's database",
        reply=tuple[kernels.KernelView, ...],
    ),
    Operation(
        By.INSTALLATION,
        "POST journal/prune",
        "Forget what was said in old calls of ended processes",
        body=kernels.PruneOrder,
        reply=kernels.PruneView,
    ),
    Operation(
        By.INSTALLATION,
        "POST journal/forget/{tenant}",
        "Throw a tenant's key away: nothing that it sealed can be read again",
        body=kernels.ForgetOrder,
        reply=NOTHING,
    ),
    Operation(
        By.INSTALLATION,
        "GET tenants",
        "Who shares this installation; with all=1 also those that were removed",
        reply=list[tenants.TenantView],
        query=("all",),
    ),
    Operation(
        By.INSTALLATION,
        "POST tenants",
        "Make a tenant",
        body=tenants.TenantOrder,
        reply=tenants.TenantView,
        status=201,
    ),
    Operation(By.INSTALLATION, "GET tenants/{tenant}", "One tenant", reply=tenants.TenantView),
    Operation(
        By.INSTALLATION,
        "POST tenants/{tenant}/remove",
        "End its clients, take its keys and schedules back, close its name",
        body=tenants.TenantRemoval,
        reply=tenants.TenantView,
    ),
)
