"""What `orlop doctor` says of sandboxes: each tier is tried, and nothing else is claimed."""

from collections.abc import Iterator

from orlop.operate.check import Check
from orlop.sandbox import tiers

FIXES = {
    "bwrap": "install bubblewrap (`apt-get install bubblewrap`), and allow user namespaces",
    "landlock": "Linux 6.12 or newer, with Landlock among its security modules",
}


def sandboxes() -> Iterator[Check]:
    """The best tier that holds; below it, why a stronger one does not."""
    for tier in tiers.TIERS:
        found = tiers.trial(tier)
        if found.works:
            yield Check(name="sandbox", state="ok", found=f"tier {tier}, {found.reason}")
            return
        yield Check(name=f"sandbox tier {tier}", state="warn", found=found.reason, fix=FIXES[tier])
    yield Check(
        name="sandbox",
        state="warn",
        found="none works here: `orlop run --sandbox` and `sandbox = …` are refused",
        fix=FIXES["bwrap"],
    )
