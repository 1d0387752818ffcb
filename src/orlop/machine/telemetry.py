"""Libraries that report to their makers are told not to, before they are loaded."""

import os


def silence() -> None:
    """For this process and what it starts; who has set the variable is not overruled.

    ONNX Runtime (1.29 and later) sends models' names and figures to its maker, from code in C that
    no airgap hears, and keeps an id of the machine in ~/.cache.  It reads this once, when loaded.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
