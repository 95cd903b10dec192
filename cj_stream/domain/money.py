"""A budget in money: what a batch may still have under way, and when nothing more is left of it.

Each verdict is expected to cost what the answers so far did on average, failed ones included. What is in flight is
reserved at that price, so the sum passes the budget by no more than what the calls in flight cost above it.
"""

from __future__ import annotations

from cj_stream.domain.batch import NANO, Batch

CALLS_WITHOUT_A_PRICE = 3
"""Comparisons that are under way at most before any verdict has told its price."""


def affordable(batch: Batch) -> int | None:
    """Return how many comparisons the rest of the budget pays for, those in flight included; None without a limit."""
    budget = batch.roster.policy.judging.max_cost
    if budget is None:
        return None
    spending = batch.progress.spending
    left = round(budget * NANO) - spending.nanodollars
    if spending.priced == 0:
        return CALLS_WITHOUT_A_PRICE if left > 0 else 0
    if spending.nanodollars == 0:
        return None
    return max(left * spending.priced // spending.nanodollars, 0)


def is_spent(batch: Batch) -> bool:
    """Return whether nothing is in flight any more and the rest of the budget does not pay for another comparison."""
    return affordable(batch) == 0 and not batch.progress.accepted


def price_is_unknown(batch: Batch) -> bool:
    """Return whether a batch with a budget has a verdict whose price nobody knows."""
    has_budget = batch.roster.policy.judging.max_cost is not None
    spending = batch.progress.spending
    return has_budget and batch.progress.judged > spending.priced + spending.reused
