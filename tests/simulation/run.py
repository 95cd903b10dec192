"""Runs simulations: one for each seed.

PYTHONPATH=tests .venv/bin/python -m simulation.run 4711          # replay one seed, and show its history
PYTHONPATH=tests .venv/bin/python -m simulation.run 0 --seeds 500 # these 500

Sets are iterated in the order of their hashes, and those of strings are drawn anew by each Python. So a history is
told again by a Python with the same ``PYTHONHASHSEED`` only: 0 here and in the Makefile.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass

from simulation.end_checks import check_end
from simulation.history import Violation
from simulation.plan import Plan
from simulation.stand_ins import stand_ins
from simulation.world import World

HASH_SEED = "PYTHONHASHSEED"


class Failed(Exception):  # noqa: N818 (the message says it all)
    """A seed broke an invariant. The message has the command that replays it, and the history."""

    def __init__(self, seed: int, violation: Violation, history: list[str]) -> None:
        self.seed = seed
        self.invariant = violation.invariant
        self.history = history
        command = f"PYTHONPATH=tests .venv/bin/python -m simulation.run {seed}"
        if sys.flags.hash_randomization:
            command += "   (unless it took the hashes of this Python, which were drawn at random)"
        super().__init__("\n".join((f"seed {seed}: {violation}", *history, f"seed {seed}: {violation}", command)))


@dataclass
class Report:
    """What a run was about, for statistics."""

    steps: int
    rebalances: int
    processes: int
    submissions: int
    resubmissions: int
    history: list[str]


def simulate(seed: int, plan: type[Plan] = Plan) -> Report:
    """Run one seed. Raises `Failed`. `stand_ins` must be in place."""
    world = World(seed, plan)
    try:
        world.run()
        check_end(world)
        if world.history.violations:
            raise world.history.violations[0]
        return _report(world)
    except Violation as violation:
        raise Failed(seed, violation, world.history.lines()) from None
    finally:
        world.discard()


def _report(world: World) -> Report:
    submissions = sum(len(takers) for takers in world.checks.submissions.values())
    return Report(
        steps=world.scheduler.steps,
        rebalances=world.group.rebalances,
        processes=len(world.processes),
        submissions=submissions,
        resubmissions=submissions - len(world.checks.submissions),
        history=world.history.lines(),
    )


def main() -> None:
    """Run the seeds that the command line names."""
    if os.environ.get(HASH_SEED) is None:
        os.execve(sys.executable, sys.orig_argv, os.environ | {HASH_SEED: "0"})  # noqa: S606 (this very program)
    parser = argparse.ArgumentParser(description="Run simulations.")
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds from there on")
    options = parser.parse_args()
    started = time.monotonic()
    with stand_ins():
        for number in range(options.seeds):
            try:
                report = simulate(options.seed + number)
            except Failed as failed:
                sys.exit(str(failed))
            if options.seeds == 1:
                print("\n".join(report.history))  # noqa: T201 (a command's output)
            elif (number + 1) % 100 == 0:
                print(f"{number + 1} seeds in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201 (a command\'s output)
    print(f"{options.seeds} seeds hold, {time.monotonic() - started:.1f} s")  # noqa: T201 (a command\'s output)


if __name__ == "__main__":
    main()
