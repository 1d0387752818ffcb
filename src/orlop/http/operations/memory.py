"""Memories, as operators see and change them."""

from typing import Final

from orlop.abi import memory, memory_orders
from orlop.http.operations.operation import NDJSON, By, Operation

OPERATIONS: Final = (
    Operation(
        By.TENANT,
        "GET memory",
        "What is remembered, and what that takes in RAM and on disk",
        reply=memory_orders.MemoryStats,
    ),
    Operation(
        By.TENANT,
        "GET memories/{memory}",
        "All versions of a memory, oldest first",
        reply=list[memory.Memory],
    ),
    Operation(
        By.TENANT,
        "GET memories/{memory}/why",
        "What taught a memory and what used it; or what the answer of a call may rest on",
        reply=memory_orders.Why,
    ),
    Operation(
        By.TENANT,
        "GET memory/diff",
        "What changed in a namespace between two events",
        reply=list[memory_orders.Difference],
        query=("namespace", "before", "after"),
    ),
    Operation(
        By.TENANT,
        "GET memory/export",
        "Versions, one a line; past=1: also those that are known no more; vectors=1: with"
        " the vectors that they are searched by",
        stream=NDJSON,
        query=("namespace", "past", "vectors"),
    ),
    Operation(
        By.TENANT,
        "POST memory/rollback",
        "Take a namespace back to what was known at an event, as new versions",
        body=memory_orders.RollbackOrder,
        reply=list[memory.Written],
    ),
    Operation(
        By.TENANT,
        "GET memory/shares",
        "Private namespaces that are open to others",
        reply=list[memory.MemoryShared],
    ),
    Operation(
        By.TENANT,
        "POST memory/shares",
        "Open a private namespace to others, or close it",
        body=memory_orders.ShareOrder,
        reply=list[memory.MemoryShared],
    ),
    Operation(
        By.TENANT,
        "GET memory/kinds",
        "Kinds of memories that have a schema",
        reply=list[memory.MemoryKindSet],
    ),
    Operation(
        By.TENANT,
        "POST memory/kinds",
        "Say what the attributes of a kind must look like",
        body=memory_orders.KindOrder,
        reply=memory.MemoryKindSet,
    ),
    Operation(
        By.TENANT,
        "POST memory/subjects",
        "Say that identifiers are one subject's, or another's",
        body=memory_orders.SubjectOrder,
        reply=memory.SubjectsLinked,
    ),
    Operation(
        By.TENANT,
        "POST memory/erasures",
        "Erase all that is known of a subject; the certificate is signed",
        body=memory_orders.EraseOrder,
        reply=memory_orders.Certificate,
    ),
    Operation(
        By.HOUSE,
        "POST memory/model",
        "Search by another model's vectors, once all memories have one",
        body=memory_orders.ReembedOrder,
        reply=memory_orders.MemoryStats,
    ),
)
