"""The routes of files, as rows."""

from typing import Final

from orlop.abi import files
from orlop.http.openapi_dialects import Schema
from orlop.http.openapi_operation import OURS, Operation

BYTES: Final = "application/octet-stream"
CONTENT: Final[Schema] = {"type": "string", "format": "binary"}
NOTHING: Final[Schema] = {"type": "object", "maxProperties": 0}

PROCESSES: Final = (
    Operation(
        method="POST",
        path=f"{OURS}/pieces",
        summary="Store a piece of content, which a `write` may then name",
        body=CONTENT,
        media=BYTES,
        reply=files.PieceStored,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/files",
        summary="A file's bytes; of any size",
        query=("path=", "version", "at="),
        stream=BYTES,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/files",
        summary="Write a file from the body; of any size up to files.bytes_max",
        query=("path=", "append", "if_version"),
        body=CONTENT,
        media=BYTES,
        reply=files.Changed,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/files",
        summary="Delete a file or a folder; its versions stay",
        query=("path=",),
        reply=files.Changed,
    ),
)

OPERATORS: Final = (
    Operation(
        method="GET",
        path=f"{OURS}/parts/{{name}}",
        summary="A message or a piece of content, by the name that events have for it",
        stream=BYTES,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/mounts",
        summary="Folders of the host that agents see",
        reply=list[files.FileView],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/mounts",
        summary="Let agents see a folder of the host",
        body=files.MountOrder,
        reply=files.FileView,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/mounts",
        summary="Let them see it no longer",
        query=("path=",),
        reply=NOTHING,
    ),
)
