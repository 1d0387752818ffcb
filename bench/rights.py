"""What do rights and tokens cost, at the door and beside it?

At the door a call is asked about once (`subsystems.rights.check`), and its token is looked up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.report import Report, begin, finish, flags
from orlop.abi.calls import Budget
from orlop.abi.ids import DEFAULT_TENANT, Nanoseconds, ProcessId, TenantId
from orlop.abi.rights import Rights
from orlop.access.capability import Capabilities, TokenConfig
from orlop.access.rights import Held, compiled
from orlop.machine.chance import SystemChance
from orlop.sdk.tokens import narrowed
from orlop.store.signing_keys import SigningKeys
from orlop.wire.tokens import Format

HELD = (*(f"tool:shop{number}.*" for number in range(50)), "model:fake", "spawn", "file:/data:read")
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Holding:
    """What a token says of its process."""

    id: ProcessId
    budget: Budget
    incarnation: int = 1
    tenant: TenantId = DEFAULT_TENANT
    rights: Rights = HELD


def each_us(rounds: int, work: Callable[[], object]) -> list[float]:
    """Microseconds of CPU a call of `work`, in several rounds."""
    found = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(rounds):
            work()
        found.append((time.process_time() - began_s) / rounds * 1e6)
    return found


def at_the_door(report: Report, rounds: int) -> None:
    everything, some = compiled(("*",)), compiled(HELD)
    report.median(
        "a right, of who holds everything",
        each_us(rounds, lambda: everything.allows("tool", "shop49.buy")),
        "µs",
        "≤ 5",
    )
    report.median(
        f"a right, of who holds {len(HELD)}, asked before",
        each_us(rounds, lambda: some.allows("tool", "shop49.buy")),
        "µs",
        "≤ 5",
    )
    names = iter(range(10**9))
    report.median(
        f"a right, of who holds {len(HELD)}, a name never asked before",
        each_us(rounds // 10, lambda: some.allows("tool", f"shop49.{next(names)}")),
        "µs",
    )
    report.median("the list itself, found", each_us(rounds, lambda: compiled(HELD)), "µs", "≤ 5")
    report.median(
        "the list itself, compiled anew", each_us(rounds // 100, lambda: Held(HELD)), "µs"
    )


def tokens(report: Report, rounds: int, format: Format) -> None:
    now_ns = Nanoseconds(time.time_ns())
    capabilities = Capabilities(SigningKeys.volatile(SystemChance()), TokenConfig(format=format))
    holding = Holding(ProcessId("prc_01m7zm7975f9r99s5c0p77rstw"), Budget())
    whole = capabilities.make(holding, now_ns)
    narrow = narrowed(whole, allow=["tool:shop1.*"], expires_s=3_600)
    report.add(f"{format}: characters of a token, {len(HELD)} rights", len(whole), "")
    report.add(f"{format}: characters, narrowed once", len(narrow), "")
    report.median(
        f"{format}: made",
        each_us(rounds // 1_000, lambda: capabilities.make(holding, now_ns)),
        "µs",
    )
    report.median(
        f"{format}: narrowed offline",
        each_us(rounds // 1_000, lambda: narrowed(whole, allow=["tool:shop1.*"])),
        "µs",
    )

    def anew() -> None:
        capabilities.rotated()
        capabilities.read(narrow, now_ns)

    report.median(
        f"{format}: verified the first time", each_us(rounds // 1_000, anew), "µs", "≤ 300"
    )
    capabilities.read(narrow, now_ns)
    good = capabilities.read(narrow, now_ns)
    report.median(
        f"{format}: looked up again, with its expiry",
        each_us(rounds, lambda: capabilities.read(narrow, now_ns).fault(now_ns)),
        "µs",
        "≤ 5",
    )
    assert good.narrowing is not None


def main() -> None:
    assert __doc__
    given = flags(__doc__)
    report = begin(
        __doc__.splitlines()[0],
        "a dictionary look-up at the door; 100 to 300 µs where a token is new",
    )
    rounds = 20_000 if given.quick else 200_000
    at_the_door(report, rounds)
    formats: tuple[Format, ...] = ("biscuit", "ed25519")
    for format in formats:
        tokens(report, rounds, format)
    finish(report, given.json)


if __name__ == "__main__":
    main()
