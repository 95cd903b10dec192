"""Who gave the verdicts of a batch, and whether anybody has read the essays for them.

The provider says with each verdict who gave it, and the row of the comparison keeps that. A mock provider has no model
behind it: its verdicts are simulated, or repeat decisions that were made before. Where nothing was said, nothing is
assumed: the source is unknown.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

from cj_stream.domain.batch import Batch
from cj_stream.domain.records import ComparisonStatus

MOCK_PROVIDER = "mock"
"""What a provider without a model calls itself, on the platform too."""
SIMULATED_MODEL = "simulated"
RECORDED_MODEL = "recorded"
_UNTOLD = {None, "", "unknown"}
"""What stands for a provider that did not say who it is: in rows, in callbacks, in answers to a submission."""


class VerdictSource(StrEnum):
    """Where a verdict comes from."""

    MODEL = "model"
    """A provider other than the mock one gave it."""
    SIMULATED = "simulated"
    """It was drawn, and nobody has read the essays."""
    RECORDED = "recorded"
    """It repeats a decision that was made before this batch."""
    UNKNOWN = "unknown"
    """Nobody has said who gave it, as in rows of earlier times."""


class Judged(NamedTuple):
    """Who gave some verdicts of a batch, and how many."""

    source: VerdictSource
    provider: str | None
    model: str | None
    verdicts: int


def verdict_source(provider: str | None, model: str | None) -> VerdictSource:
    """Return the source of a verdict that came with these names."""
    if provider in _UNTOLD:
        return VerdictSource.UNKNOWN
    if provider != MOCK_PROVIDER:
        return VerdictSource.MODEL
    return VerdictSource.RECORDED if model == RECORDED_MODEL else VerdictSource.SIMULATED


def judged_by(batch: Batch) -> list[Judged]:
    """Return who gave the verdicts there are, most verdicts first."""
    given = Counter((row.provider, row.model) for row in batch.comparisons if row.status is ComparisonStatus.JUDGED)
    return [Judged(verdict_source(*names), *names, verdicts) for names, verdicts in given.most_common()]
