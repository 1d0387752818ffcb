"""The models that `orlop pull` brought to this machine, for tests that need real ones."""

import os
from pathlib import Path

import pytest

from orlop.devices import shelf

MODELS = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "orlop/models"


def weights(name: str) -> Path:
    """Where the model lies; the test is skipped where it doesn't."""
    model = shelf.find(MODELS, name)
    if model is None:
        pytest.skip(f"{name} is not here: `orlop pull {name}`", allow_module_level=True)
    return MODELS / model.path
