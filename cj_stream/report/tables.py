"""The tables of a report: every cell a text as it will be read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cj_stream.report.analysis import Analysis
from cj_stream.report.names import shown
from cj_stream.scoring.quality.marks import Grading, rounded
from cj_stream.scoring.quality.residuals import HIGHEST_USUAL, LOWEST_USUAL, Misfit

_PERCENT = 100.0
_UNLIKELY = 0.005


class ReportTable(NamedTuple):
    """A table. The first column names the row; columns listed in ``texts`` are not numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: tuple[str, ...] = ()


def cell_number(value: float, digits: int = 2) -> str:
    """Return a number, a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def signed(value: float) -> str:
    """Return a number with its sign."""
    return f"{value:+.2f}" if math.isfinite(value) else "-"


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{_PERCENT * share:.0f} %" if math.isfinite(share) else "-"


def chance(probability: float) -> str:
    """Return a probability in per cent; what is not certain is not called 0 or 100."""
    if probability < _UNLIKELY:
        return "<1 %"
    return ">99 %" if probability > 1.0 - _UNLIKELY else percent(probability)


def ranking_rows(study: Analysis) -> ReportTable:
    """Return one row for each item, best first."""
    fit, quality = study.fit, study.quality
    flags, extras = _flags(quality.items), list(_marks(study))
    interval, names, order = fit.interval95, shown_items(study), best_first(study)
    ahead = [chance(fit.probability_better(*pair)) for pair in pairwise(order)]
    rows = [
        (
            names[i],
            str(fit.ranks[i]),
            f"{quality.ranks[i, 0]} to {quality.ranks[i, 1]}",
            above_next,
            signed(fit.theta[i]),
            cell_number(fit.standard_error[i]),
            f"{signed(interval[i, 0])} to {signed(interval[i, 1])}",
            str(fit.comparisons_per_item[i]),
            f"{fit.wins_per_item[i]:g}",
            cell_number(quality.items.infit[i]),
            flags[i],
            *(cells[i] for _, cells in extras),
        )
        for i, above_next in zip(order, [*ahead, "-"], strict=True)
    ]
    places, scores = ("item", "rank", "rank, 95 %", "P(above next)"), ("theta", "SE", "theta, 95 %")
    heading = (*places, *scores, "comparisons", "wins", "infit", "fit")
    caption = "Ranking, best first. Theta and its standard error (SE) are in logits."
    return ReportTable(caption, heading + tuple(name for name, _ in extras), rows, ("fit", "grade"))


def best_first(study: Analysis) -> list[int]:
    """Return the items' indices by rank."""
    order: list[int] = np.argsort(study.fit.ranks).tolist()
    return order


def shown_items(study: Analysis) -> list[str]:
    """(n,) names of the items as a page shows them."""
    return [shown(name) for name in study.items]


def _marks(study: Analysis) -> Iterator[tuple[str, list[str]]]:
    fit, scale, grading = study.fit, study.marking.scale, study.marking.grading
    if scale is not None:
        both = [rounded(*pair) for pair in zip(scale.marks(fit.theta), scale.errors(fit.standard_error), strict=True)]
        yield "mark", [each.estimate for each in both]
        yield "SE of mark", [each.error for each in both]
    if grading is not None:
        places = grading.grade_of(fit.theta).tolist()
        probabilities = grading.probabilities(fit)
        yield "grade", [shown(grading.grades[place]) for place in places]
        yield "P(grade)", [chance(probabilities[i, place]) for i, place in enumerate(places)]


def grade_table(study: Analysis, grading: Grading) -> ReportTable:
    """Return the probability of each grade, and of reaching each boundary, for each item."""
    probabilities, above = grading.probabilities(study.fit), grading.above(study.fit)
    names, grades = shown_items(study), [shown(grade) for grade in grading.grades]
    rows = [
        (names[i], *(chance(value) for value in (*probabilities[i].tolist(), *above[i].tolist())))
        for i in best_first(study)
    ]
    heading = ("item", *(f"P({grade})" for grade in grades), *(f"P(at least {grade})" for grade in grades[1:]))
    return ReportTable("Probability of each grade, and of at least each grade, best item first", heading, rows)


def boundary_table(study: Analysis, grading: Grading) -> ReportTable:
    """Return where each grade begins."""
    rows = []
    for place, (level, item) in enumerate(zip(grading.levels.tolist(), grading.items.tolist(), strict=True)):
        origin = "given" if item < 0 else f"the score of {shown(study.items[item])}"
        rows.append((shown(grading.grades[place + 1]), signed(level), origin))
    return ReportTable("Grade boundaries", ("grade", "from theta", "boundary"), rows, ("boundary",))


def misfit_table(study: Analysis) -> ReportTable:
    """Return the items on which judges disagree more than the model says, worst first."""
    misfit, names, flags = study.quality.items, shown_items(study), _flags(study.quality.items)
    unusual = np.flatnonzero(misfit.unusual | (misfit.infit > HIGHEST_USUAL)).tolist()
    rows = [
        (
            names[i],
            flags[i],
            cell_number(misfit.infit[i]),
            cell_number(misfit.outfit[i]),
            str(study.fit.comparisons_per_item[i]),
        )
        for i in sorted(unusual, key=lambda i: -float(misfit.infit[i]))
    ]
    return ReportTable(
        "Items that fit the model badly", ("item", "fit", "infit", "outfit", "comparisons"), rows, ("fit",)
    )


def judge_table(study: Analysis) -> ReportTable | None:
    """Return one row for each judge, None when they are not known."""
    report = study.quality.judges
    if report is None:
        return None
    flags, first_known = _flags(report.misfit), study.ordered
    rows = [
        (
            shown(name) or "(not named)",
            str(report.comparisons[k]),
            cell_number(report.misfit.infit[k]),
            cell_number(report.misfit.outfit[k]),
            flags[k],
            percent(report.agreement.per_judge[k]),
            percent(report.first_wins[k]) if first_known else "-",
        )
        for k, name in sorted(enumerate(report.names), key=lambda judge: -float(report.misfit.infit[judge[0]]))
    ]
    heading = ("judge", "comparisons", "infit", "outfit", "fit", "agreement", "chose the first")
    return ReportTable("Judges, highest infit first", heading, rows, ("fit",))


def rounds_table(study: Analysis) -> ReportTable:
    """Return the reliability after more and more comparisons."""
    rows = [
        (str(r.comparisons), f"{r.per_item:.1f}", cell_number(r.reliability), cell_number(r.separation_reliability))
        for r in study.quality.rounds
    ]
    return ReportTable("Reliability as the comparisons came in", ("comparisons", "per item", "EAP", "SSR"), rows)


def _flags(misfit: Misfit) -> list[str]:
    """(k,) what stands out, in words: no colour is needed to see it."""
    return [_flag(*values) for values in zip(misfit.infit.tolist(), misfit.unusual.tolist(), strict=True)]


def _flag(infit: float, unusual: bool) -> str:
    told = ["misfit"] if unusual else []
    if infit > HIGHEST_USUAL:
        told.append(f"above {HIGHEST_USUAL}")
    if infit < LOWEST_USUAL:
        told.append(f"below {LOWEST_USUAL}")
    return ", ".join(told)
