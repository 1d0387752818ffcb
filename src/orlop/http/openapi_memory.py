"""The routes for memories, as rows of the API's description."""

from typing import Final

from orlop.abi import memory, memory_orders
from orlop.http.openapi_operation import NDJSON, OURS, Operation

OPERATIONS: Final = (
    Operation(
        method="GET",
        path=f"{OURS}/memory",
        summary="What is remembered, and what that takes in RAM and on disk",
        reply=memory_orders.MemoryStats,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/memories/{{memory}}",
        summary="All versions of a memory, oldest first",
        reply=list[memory.Memory],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/memories/{{memory}}/why",
        summary="What taught a memory and what used it; or what the answer of a call may rest on",
        reply=memory_orders.Why,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/memory/diff",
        summary="What changed in a namespace between two events",
        reply=list[memory_orders.Difference],
        query=("namespace", "before", "after"),
    ),
    Operation(
        method="GET",
        path=f"{OURS}/memory/export",
        summary="Versions, one a line; past=1: also those that are known no more; vectors=1: with"
        " the vectors that they are searched by",
        stream=NDJSON,
        query=("namespace", "past", "vectors"),
    ),
    Operation(
        method="POST",
        path=f"{OURS}/memory/rollback",
        summary="Take a namespace back to what was known at an event, as new versions",
        body=memory_orders.RollbackOrder,
        reply=list[memory.Written],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/memory/shares",
        summary="Private namespaces that are open to others",
        reply=list[memory.MemoryShared],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/memory/shares",
        summary="Open a private namespace to others, or close it",
        body=memory_orders.ShareOrder,
        reply=list[memory.MemoryShared],
    ),
    Operation(
        method="GET",
        path=f"{OURS}/memory/kinds",
        summary="Kinds of memories that have a schema",
        reply=list[memory.MemoryKindSet],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/memory/kinds",
        summary="Say what the attributes of a kind must look like",
        body=memory_orders.KindOrder,
        reply=memory.MemoryKindSet,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/memory/subjects",
        summary="Say that identifiers are one subject's, or another's",
        body=memory_orders.SubjectOrder,
        reply=memory.SubjectsLinked,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/memory/erasures",
        summary="Erase all that is known of a subject; the certificate is signed",
        body=memory_orders.EraseOrder,
        reply=memory_orders.Certificate,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/memory/model",
        summary="Search by another model's vectors, once all memories have one",
        body=memory_orders.ReembedOrder,
        reply=memory_orders.MemoryStats,
    ),
)
"""For operators."""
