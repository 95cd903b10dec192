"""The page: tables, plots and facts, put into the template."""

from __future__ import annotations

import math
from importlib.metadata import version
from platform import python_version
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cj_stream.report import plots
from cj_stream.report.analysis import Analysis
from cj_stream.report.names import shown
from cj_stream.report.tables import (
    ReportTable,
    best_first,
    boundary_table,
    cell_number,
    grade_table,
    judge_table,
    misfit_table,
    percent,
    ranking_rows,
    rounds_table,
    signed,
)
from cj_stream.scoring.estimation.fit import Estimator
from cj_stream.scoring.estimation.reliability import (
    EAP_RELIABILITY_FORMULA,
    SEPARATION_RATIO_FORMULA,
    SEPARATION_RELIABILITY_FORMULA,
)
from cj_stream.scoring.estimation.width import SCEPTICAL
from cj_stream.scoring.quality.ranks import DRAWS
from cj_stream.scoring.quality.residuals import HIGHEST_USUAL, LOWEST_USUAL
from cj_stream.scoring.quality.split_half import SPLITS
from cj_stream.scoring.quality.stopping import MIN_COMPARISONS_PER_ESSAY

_ESTIMATORS: Final = {
    Estimator.MAP: "maximum a posteriori, prior N(0, s^2) with s = max(2, s_EB), s_EB by the Laplace approximation of "
    "the marginal likelihood",
    Estimator.MLE: "maximum likelihood",
    Estimator.FIRTH: "bias-reduced maximum likelihood (Firth 1993)",
    Estimator.NMM: "win totals adjusted by .3 at both ends, standard errors from the diagonal of the information "
    "alone, as No More Marking publishes its scales",
}
_ASSUMED = (
    "verdicts are independent given the scores, judges are equally good, errors are normal: intervals are a little "
    "short for items far from the middle"
)
_SOFTWARE = ("cj-stream", "numpy", "matplotlib")


def page(study: Analysis) -> str:
    """Return a report as one HTML page that needs nothing from anywhere; the same study always gives the same page."""
    environment = Environment(
        loader=PackageLoader("cj_stream.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": cell_number, "signed": signed, "percent": percent, "shown": shown}
    text = environment.get_template("report.html").render(
        study=study,
        warnings=_warnings(study),
        fit=study.fit,
        quality=study.quality,
        key_figures=_key_figures(study),
        settings=[(shown(name), shown(value)) for name, value in study.settings],
        method=_method(study),
        even_first=_even_first(study),
        muted=int((study.quality.items.infit < LOWEST_USUAL).sum()),
        **_tables(study),
        **_plots(study),
        **_constants(),
    )
    return text.lstrip() + "\n"  # the macros leave blank lines before the doctype


def _warnings(study: Analysis) -> list[str]:
    few = int((study.fit.comparisons_per_item < MIN_COMPARISONS_PER_ESSAY).sum())
    told = (
        f"{few} of {study.fit.n} items were compared fewer than {MIN_COMPARISONS_PER_ESSAY} times: their scores are "
        "rough, and an infit of so few verdicts says little."
    )
    return [*study.warnings, *([told] if few else [])]


def _tables(study: Analysis) -> dict[str, ReportTable | None]:
    grading = study.marking.grading
    return {
        "ranking": ranking_rows(study),
        "boundaries": None if grading is None else boundary_table(study, grading),
        "grades": None if grading is None else grade_table(study, grading),
        "misfits": misfit_table(study),
        "judges": judge_table(study),
        "rounds": rounds_table(study),
    }


def _plots(study: Analysis) -> dict[str, Any]:
    order, fit = best_first(study), study.fit
    rounds = study.quality.rounds
    per_item = [r.per_item for r in rounds]
    curve = plots.line_chart(
        [
            plots.Series("EAP reliability", per_item, [r.reliability for r in rounds]),
            plots.Series("SSR", per_item, [r.separation_reliability for r in rounds]),
        ],
        "comparisons per item",
        "reliability",
        "Reliability against comparisons",
        "The table below has the numbers.",
    )
    names = [study.items[i] for i in order]
    caterpillars = plots.caterpillar(names, fit.theta[order], fit.interval95[order])
    # The drawings are ours; names in them were escaped when they were written.
    return {
        "caterpillars": [Markup(each) for each in caterpillars],  # noqa: S704 -- as said above
        "curve": Markup(curve),  # noqa: S704 -- as said above
        "heat_map": Markup(plots.heat_map(study.data, fit.ranks)),  # noqa: S704 -- as said above
    }


def _key_figures(study: Analysis) -> list[tuple[str, str]]:
    fit, quality, counts = study.fit, study.quality, study.fit.comparisons_per_item
    judges = "not known" if quality.judges is None else str(len(quality.judges.names))
    spread = float(np.std(fit.theta, ddof=1)) if fit.n > 1 else math.nan
    figures = [
        ("items", str(fit.n)),
        ("comparisons", str(len(study.data))),
        ("comparisons per item", f"mean {counts.mean():.1f}, from {counts.min()} to {counts.max()}"),
        ("judges", judges),
        (f"EAP reliability, {EAP_RELIABILITY_FORMULA}", cell_number(fit.reliability)),
        (f"SSR, {SEPARATION_RELIABILITY_FORMULA}", cell_number(fit.separation_reliability)),
        ("separation G; strata (4 G + 1) / 3", f"{cell_number(quality.separation)}; {cell_number(quality.strata, 1)}"),
        ("spread of the scores, SD of theta", f"{cell_number(spread)} logits"),
    ]
    return figures + [(shown(name), shown(value)) for name, value in study.facts]


def _even_first(study: Analysis) -> float:
    """How often the item presented first wins against one as good."""
    order = study.quality.order
    return math.nan if order is None else 1.0 / (1.0 + math.exp(-order.bias.estimate))


def _method(study: Analysis) -> list[tuple[str, str]]:
    fit = study.fit
    width = "none" if np.isinf(fit.prior_sd) else f"N(0, {fit.prior_sd:.3g}^2), s_EB = {fit.prior_sd_eb:.3g}"
    bias = fit.position_bias
    term = "not fitted" if bias is None else f"fitted: {signed(bias.estimate)} (SE {cell_number(bias.standard_error)})"
    return [
        ("model", "Bradley-Terry: P(A beats B) = 1 / (1 + exp(-(theta_A - theta_B))); a tie is half a win for both"),
        ("estimator", f"{fit.estimator}: {_ESTIMATORS[fit.estimator]}"),
        ("prior of the scores", width),
        ("position term in the scores", term),
        ("scale", f"{len(fit.anchored)} anchors held" if fit.anchored else "logits, centred on the mean of the items"),
        ("assumed", _ASSUMED),
        ("converged", "yes" if fit.converged else "no"),
        ("seed of splits and rank intervals", str(study.seed)),
        ("software", ", ".join(f"{name} {version(name)}" for name in _SOFTWARE) + f", Python {python_version()}"),
    ]


def _constants() -> dict[str, Any]:
    return {
        "eap_formula": EAP_RELIABILITY_FORMULA,
        "sceptical": f"log s ~ N(log {SCEPTICAL.median:g}, {SCEPTICAL.deviation:g}^2)",
        "ssr_formula": SEPARATION_RELIABILITY_FORMULA,
        "ratio_formula": SEPARATION_RATIO_FORMULA,
        "usual": (LOWEST_USUAL, HIGHEST_USUAL),
        "splits": SPLITS,
        "draws": DRAWS,
    }
