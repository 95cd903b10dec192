"""The simulation can fail: known mistakes, put into the code one at a time, are all found."""

from __future__ import annotations

from collections import Counter

import pytest
from simulation.mutations import MUTATIONS, Mutation
from simulation.run import Failed, simulate
from simulation.stand_ins import stand_ins

MOST_SEEDS = 2_000


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_simulation_finds_that(mutation: Mutation) -> None:
    others: Counter[str] = Counter()
    with stand_ins(), mutation.apply():
        for seed in range(MOST_SEEDS):
            try:
                simulate(seed)
            except Failed as failed:
                if failed.invariant in mutation.caught_by:
                    return
                others[failed.invariant] += 1
    pytest.fail(f"not found by {mutation.caught_by} in {MOST_SEEDS} seeds, but by {dict(others)}")
