"""The points where workers are made to die lie in code that is there: each is found, and put in place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kills.points import AFTER, AFTER_AWAITING, BEFORE, POINTS

TESTS = Path(__file__).parents[2]
SEEN = {point for _, _, point in (*BEFORE, *AFTER, *AFTER_AWAITING)}


def test_the_points_are_put_into_the_code_of_a_worker() -> None:
    """In a process of its own: they stay in place."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    command = [sys.executable, "-c", "import kills.rigged"]
    environment = {**os.environ, "PYTHONPATH": paths, "KILL_ORDER": "nobody"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("point", sorted(SEEN))
def test_a_point_in_the_code_is_one_that_can_be_ordered(point: str) -> None:
    assert point in POINTS
