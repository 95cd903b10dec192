from __future__ import annotations

from simulation.run import simulate
from simulation.stand_ins import stand_ins


def test_the_simulation_can_still_build_and_run_a_worker() -> None:
    """A few seeds among the fast tests: whoever changes how a worker is built learns at once what else stands in."""
    with stand_ins():
        assert all(simulate(seed).processes for seed in range(3))
