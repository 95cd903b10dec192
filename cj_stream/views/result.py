"""The ranking of a batch with what is needed to judge how far it can be trusted."""

from __future__ import annotations

from typing import Any

from cj_stream.domain.batch import Batch
from cj_stream.domain.ranking import RankedEssay, ranking
from cj_stream.domain.states import BatchState
from cj_stream.domain.verdict_sources import judged_by
from cj_stream.scoring.estimation.reliability import EAP_RELIABILITY_FORMULA, SEPARATION_RELIABILITY_FORMULA
from cj_stream.views.flags import flagged_essays
from cj_stream.views.judged_by import cautions, shown_judges
from cj_stream.views.summary import failed_essays, spending

Z_95 = 1.959964
"""0.975 quantile of the standard normal distribution."""


def result(batch: Batch) -> dict[str, Any] | None:
    """Return the ranking from the newest fit, or None when there is none. It is final once the batch is completed."""
    ranked = ranking(batch)
    if not ranked:
        return None
    judges = judged_by(batch)
    newest = batch.scores[-1] if batch.scores else None  # a single essay is ranked without a fit
    return {
        "batch_id": batch.batch_id,
        "run": batch.run,
        "state": batch.state.value,
        "final": batch.state is BatchState.COMPLETED,
        "stop_reason": batch.control.stop_reason,
        "reliability": {
            "eap": newest.reliability if newest else None,
            "eap_formula": EAP_RELIABILITY_FORMULA,
            "ssr": newest.ssr if newest else None,
            "ssr_formula": SEPARATION_RELIABILITY_FORMULA,
        },
        "verdicts": newest.verdicts if newest else 0,
        "judged_by": shown_judges(judges),
        "cautions": cautions(judges),
        "comparisons": batch.total_comparisons,
        "iterations": batch.iteration,
        "components": newest.components if newest else 1,
        **spending(batch),
        "ranking": [_line(essay) for essay in ranked],
        "flagged_essays": flagged_essays(batch),
        "failed_essays": failed_essays(batch),
        "scores_by_iteration": [
            {"iteration": fit.iteration, "verdicts": fit.verdicts, "reliability": fit.reliability}
            for fit in batch.scores
        ],
    }


def _line(essay: RankedEssay) -> dict[str, Any]:
    error = essay.standard_error
    return {
        "rank": essay.rank,
        "essay_id": essay.essay_id,
        "theta": essay.theta,
        "standard_error": error,
        "ci95": None if error is None else [essay.theta - Z_95 * error, essay.theta + Z_95 * error],
        "comparisons": essay.comparisons,
        "wins": essay.wins,
    }
