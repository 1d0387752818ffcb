"""What a program may ask is the same with `await` and without: two faces of one kernel."""

import inspect
import re

import pytest

from orlop.sdk.claims import Claim
from orlop.sdk.claims_sync import SyncClaim
from orlop.sdk.files import Files
from orlop.sdk.files_sync import SyncFiles
from orlop.sdk.kernel import Kernel, Process, Stream
from orlop.sdk.saga import Saga
from orlop.sdk.sync import SyncKernel, SyncProcess, SyncStream
from orlop.sdk.sync_saga import SyncSaga

FACES = (
    (Kernel, SyncKernel),
    (Files, SyncFiles),
    (Claim, SyncClaim),
    (Saga, SyncSaga),
    (Process, SyncProcess),
    (Stream, SyncStream),
)
ONLY_ASYNC = {"Kernel": {"offered"}}
"""`offered`: waits until functions may be called; the next call of a program does it too."""


def words(face: type) -> dict[str, str]:
    """Each method with its parameters and what comes back, as both faces would write it."""
    found = {}
    for name, member in vars(face).items():
        if name.startswith("_"):
            continue
        method = member.fget if isinstance(member, property) else member
        assert callable(method)
        said = str(inspect.signature(method)).replace("Sync", "")
        said = re.sub(r"orlop\.sdk\.\w+\.", "", said)
        found[name] = re.sub(r"(?:collections\.abc\.)?Awaitable\[(\w+)\]", r"\1", said)
    return found


@pytest.mark.parametrize(("face", "other"), FACES, ids=lambda face: str(face.__name__))
def test_each_method_is_there_with_and_without_await(face: type, other: type) -> None:
    with_await, without = words(face), words(other)
    for name in ONLY_ASYNC.get(face.__name__, ()):
        del with_await[name]
    assert with_await
    assert with_await == without
