"""Whole fleets in virtual time: whatever is killed, frozen, moved, lost or repeated, the promises hold."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulation import checks
from simulation.mutations import MUTATIONS
from simulation.plan import TenMinutesAway
from simulation.run import HASH_SEED, Failed, Report, simulate
from simulation.stand_ins import stand_ins

SEEDS = 2_000
PORTIONS = 8
PORTION = SEEDS // PORTIONS


@pytest.fixture(autouse=True)
def _simulated_world() -> Iterator[None]:
    with stand_ins():
        yield


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_nothing_is_lost_or_repeated_whatever_happens(portion: int, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    seeds = range(portion * PORTION, (portion + 1) * PORTION)
    reports = [simulate(seed) for seed in seeds]
    with capsys.disabled():
        print(f"\n{_told(seeds, reports)} {time.monotonic() - started:.0f} s", end=" ")  # noqa: T201 (a line of progress)
    # A simulation in which nothing goes wrong would prove nothing.
    assert sum(report.submissions for report in reports) > 5 * PORTION
    assert sum(report.rebalances for report in reports) > 2 * PORTION
    assert sum(report.resubmissions for report in reports) > 0
    assert sum(report.processes for report in reports) > 2 * PORTION


def test_ten_minutes_of_refusals_for_everybody_cost_no_attempt_and_no_batch() -> None:
    """What is checked at the end of each: every batch has the result that it would have had without them."""
    reports = [simulate(seed, TenMinutesAway) for seed in range(15)]
    assert sum(report.submissions for report in reports) > 15
    assert all(any("is away for 600" in line for line in report.history) for report in reports)


def test_a_seed_always_tells_the_same_history() -> None:
    for seed in range(40):
        assert simulate(seed).history == simulate(seed).history


def test_a_seed_tells_the_same_history_in_another_process() -> None:
    command = [sys.executable, "-m", "simulation.run"]
    environment = {name: value for name, value in os.environ.items() if name != HASH_SEED}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    for seed in (1, 9, 11):  # with other hashes these histories differ
        told = [subprocess.check_output([*command, str(seed)], env=environment).splitlines() for _ in range(2)]
        assert told[0][:-1] == told[1][:-1]  # the last line has the seconds that it took


def test_a_seed_that_fails_says_how_to_replay_it_and_what_happened() -> None:
    early = next(mutation for mutation in MUTATIONS if mutation.caught_by == (checks.COMMITTED_FIRST,))
    with early.apply():
        failed = next(failed for seed in range(20) if (failed := _failure(seed)) is not None)
    assert f"-m simulation.run {failed.seed}" in str(failed)
    assert failed.invariant in str(failed)
    assert 10 < len(str(failed).splitlines()) < 450
    assert any("asks for" in line for line in failed.history)


def _failure(seed: int) -> Failed | None:
    try:
        simulate(seed)
    except Failed as failed:
        return failed
    return None


def _told(seeds: range, reports: list[Report]) -> str:
    return (
        f"seeds {seeds.start}-{seeds.stop - 1}: {sum(report.rebalances for report in reports)} rebalances, "
        f"{sum(report.processes for report in reports)} processes, "
        f"{sum(report.submissions for report in reports)} submissions, "
        f"{sum(report.resubmissions for report in reports)} of them again;"
    )
