"""A budget is used, and kept to, by two gateways together; `benchmarks/budget.py` has the long form."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_runs.budget import use_budget

pytestmark = pytest.mark.kafka


async def test_two_gateways_use_a_budget_to_the_full_share_it_fairly_and_never_ask_too_much(
    broker: str, tmp_path: Path
) -> None:
    used = await use_budget(broker, tmp_path, seconds=40.0, workers=2)
    assert used.too_many == 0
    assert used.of_the_limit >= 0.95, used
    assert used.largest_share <= 0.1, used
