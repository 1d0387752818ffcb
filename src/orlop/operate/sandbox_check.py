"""What `orlop doctor` says of sandboxes: each tier is tried, and nothing else is claimed."""

from collections.abc import Iterator

from orlop.operate.check import Check
from orlop.sandbox import cgroups, tiers

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
            yield _whole()
            return
        yield Check(name=f"sandbox tier {tier}", state="warn", found=found.reason, fix=FIXES[tier])
    yield Check(
        name="sandbox",
        state="warn",
        found="none works here: `orlop run --sandbox` and `sandbox = …` are refused",
        fix=FIXES["bwrap"],
    )


def _whole() -> Check:
    """Limits on all processes of a sandbox together."""
    found = cgroups.find()
    if found.groups is not None:
        return Check(name="sandbox limits", state="ok", found=f"control groups {found.reason}")
    return Check(
        name="sandbox limits",
        state="warn",
        found=f"`ram_bytes` and --ram are refused: {found.reason}",
        fix="run the kernel with `Delegate=yes` and `DelegateSubgroup=kernel` under systemd, or as "
        "a user who may write its own control group",
    )
