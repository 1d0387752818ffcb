"""What acts on the world: tools, their effects, sagas, folders of the host."""

from typing import Final

from orlop.abi import effects, files, sagas, tools
from orlop.http.operations.operation import BYTES, NOTHING, By, Operation

OPERATIONS: Final = (
    Operation(
        By.TENANT,
        "GET tools",
        "Tools, and what their servers say of them",
        reply=list[tools.ToolView],
    ),
    Operation(By.TENANT, "GET tools/{tool}", "One tool", reply=tools.ToolView),
    Operation(
        By.INSTALLATION,
        "POST tools/{tool}/trust",
        "Agree to what a server says of its tool now",
        body=tools.TrustOrder,
        reply=tools.ToolView,
    ),
    Operation(
        By.TENANT,
        "GET effects",
        "Effects that may have happened, and need a person's word",
        reply=list[effects.EffectView],
    ),
    Operation(
        By.TENANT,
        "POST effects/{effect}/settle",
        "Say whether one happened",
        body=effects.SettleOrder,
        reply=effects.EffectView,
    ),
    Operation(
        By.INSTALLATION,
        "GET systems",
        "External systems, and what they bear",
        reply=list[tools.SystemView],
    ),
    Operation(
        By.TENANT,
        "GET sagas",
        "Sagas that are not over; with all=1 also those that are",
        reply=list[sagas.SagaView],
        query=("all",),
    ),
    Operation(By.TENANT, "GET sagas/{saga}", "One saga, step by step", reply=sagas.SagaView),
    Operation(
        By.TENANT,
        "POST sagas/{saga}/settle",
        "Say that its stuck step is undone, or let it be tried again",
        body=sagas.SagaOrder,
        reply=sagas.SagaView,
    ),
    Operation(
        By.TENANT,
        "GET parts/{name}",
        "A message or a piece of content, by the name that events have for it",
        stream=BYTES,
    ),
    Operation(
        By.TENANT, "GET mounts", "Folders of the host that agents see", reply=list[files.FileView]
    ),
    Operation(
        By.HOUSE,
        "POST mounts",
        "Let agents see a folder of the host",
        body=files.MountOrder,
        reply=files.FileView,
    ),
    Operation(
        By.TENANT, "DELETE mounts", "Let them see it no longer", query=("path=",), reply=NOTHING
    ),
)
