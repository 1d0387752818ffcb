"""How often does an effect happen twice, however often the kernel is killed under it?

Simulated: towns of agents with sagas in virtual time, whose kernels die at random moments and at
fault points, before and after their tools acted.  Real: programs with sagas on a database, through
the connector and its outbox, while a real kernel is killed at each fault point in turn.
What happened is counted outside: in the simulated shop, and in the rows of the database.
"""

import logging
import sys
import tempfile
from pathlib import Path

from bench.report import begin, finish, flags

TESTS = Path(__file__).parents[1] / "tests"
QUESTION = "How often does an effect happen twice, is lost, or is left over, under kills?"
EXPECTED = "never; what cannot be known waits for a person and is never guessed"


def main() -> None:
    given = flags(QUESTION)
    sys.path.insert(0, str(TESTS))
    from crash import shoppers
    from simulation import saga_town

    logging.disable(logging.CRITICAL)  # Kernels that are killed have much to say.
    report = begin(QUESTION, EXPECTED)
    simulated = 500 if given.quick else 10_000
    real = 14 if given.quick else 200
    kills = doubled = left = seed = actions = asked = 0
    while kills < simulated:
        town = saga_town.run(seed, judged=False)
        kills += town.kills
        doubled += town.doubled()
        left += town.left_over()
        actions += town.actions()
        asked += town.asked_people
        seed += 1
    report.add("simulated kills, with sagas in flight", kills, "", "10,000")
    report.add("effects, undone ones too", actions, "")
    report.add("settled by a person, since no tool could tell", asked, "")
    report.add("effects doubled", doubled, "", "0")
    report.add("sagas that are half there", left, "", "0")
    days = []
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as folder:
        for seed in range(-(-real // shoppers.KILLS_A_HOME)):
            days.append(shoppers.day(Path(folder), seed))
    report.add("real kills, at fault points", sum(day.kills for day in days), "", "200")
    report.add("sagas on a database", sum(day.sagas for day in days), "")
    report.add("effects, undone ones too (real)", sum(day.effects for day in days), "")
    report.add("effects doubled (real)", sum(day.doubled for day in days), "", "0")
    report.add("committed and lost (real)", sum(day.lost for day in days), "", "0")
    report.add("given up and left over (real)", sum(day.left for day in days), "", "0")
    finish(report, given.json)


if __name__ == "__main__":
    main()
