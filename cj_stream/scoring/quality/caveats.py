"""What a reader of a fit should know: above all, which scores the comparisons alone do not determine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cj_stream.scoring.estimation.data import Anchors, Comparisons
from cj_stream.scoring.estimation.evidence import HIGHEST_WITHOUT
from cj_stream.scoring.estimation.existence import Obstacle, Reason, unbounded, uncompared, unlinked
from cj_stream.scoring.estimation.fit import Estimator, Fit
from cj_stream.scoring.estimation.width import WIDEST
from cj_stream.scoring.quality.stopping import MIN_COMPARISONS_PER_ESSAY

_RESTS_ON = {
    Estimator.MAP: "the prior",
    Estimator.FIRTH: "the bias correction",
    Estimator.NMM: "the adjustment of the win totals",
}


def caveats(data: Comparisons, fit: Fit, names: Sequence[str], anchors: Anchors | None = None) -> list[str]:
    """Return sentences about the limits of a fit, the gravest first; empty when there is nothing to say.

    Args:
        data: the comparisons of the fit.
        fit: the fit.
        names: (n,) names of the items.
        anchors: the anchors of the fit.

    """
    return [*_about_the_graph(data, fit, names, anchors), *_about_the_fit(fit)]


def _about_the_graph(data: Comparisons, fit: Fit, names: Sequence[str], anchors: Anchors | None) -> Iterator[str]:
    if not len(data):
        yield f"There are no comparisons: all scores rest on {_RESTS_ON[fit.estimator]}."
        return
    alone = uncompared(data)
    for obstacle in alone:
        yield f"{_sentence(obstacle, names)}: what is said of them rests on {_RESTS_ON[fit.estimator]}."
    lonely = {item for obstacle in alone for item in obstacle.items}
    for obstacle in unlinked(data, anchors):
        if not lonely.issuperset(obstacle.items):
            yield (
                f"{_sentence(obstacle, names)}: where they stand relative to the others rests on "
                f"{_RESTS_ON[fit.estimator]} alone."
            )
    for obstacle in unbounded(data, anchors):
        if obstacle.reason is not Reason.UNLINKED:
            yield f"{_sentence(obstacle, names)}: the distance to the others rests on {_RESTS_ON[fit.estimator]}."


def _sentence(obstacle: Obstacle, names: Sequence[str]) -> str:
    text = obstacle.text(names)
    return text[0].upper() + text[1:]


def _about_the_fit(fit: Fit) -> Iterator[str]:
    if not fit.converged:
        yield f"The estimate did not converge in {fit.iterations} steps: do not rely on it."
    if fit.reliability <= HIGHEST_WITHOUT and fit.comparisons_per_item.mean() >= MIN_COMPARISONS_PER_ESSAY:
        yield f"The reliability is {fit.reliability:.2f}: the ranking may well be chance."
    if fit.prior_sd_eb >= WIDEST:
        yield (
            "The comparisons hardly contradict one another: distances between scores are less certain than their "
            "order, for the spread of the scale is at the limit that the prior allows."
        )
