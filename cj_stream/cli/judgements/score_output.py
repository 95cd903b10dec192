"""A scored data set for machines (JSON, CSV) and for people (tables)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cj_stream.cli.shared.rendering import plain
from cj_stream.report.analysis import Marking
from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.estimation.graph import components, strong_components
from cj_stream.scoring.estimation.reliability import SEPARATION_RELIABILITY_FORMULA, separation
from cj_stream.scoring.quality.marks import rounded
from cj_stream.scoring.quality.residuals import item_misfit

CSV_COLUMNS = ("rank", "id", "theta", "se", "ci95_low", "ci95_high", "comparisons", "wins", "infit", "outfit")
MARK_COLUMNS = ("mark", "mark_se", "grade", "grade_probability")
"""Only in the result when they are asked for."""


def scored(data: Comparisons, fit: Fit, names: Sequence[str], warnings: Sequence[str]) -> dict[str, Any]:
    """Return the result in the shape of ``--json``, best item first; what cannot be computed is None."""
    bias, misfit = fit.position_bias, item_misfit(data, fit)
    ssr = fit.separation_reliability
    items = [
        {
            "id": names[i],
            "rank": int(fit.ranks[i]),
            "theta": float(fit.theta[i]),
            "se": _finite(fit.standard_error[i]),
            "ci95": [_finite(bound) for bound in fit.interval95[i]],
            "comparisons": int(fit.comparisons_per_item[i]),
            "wins": float(fit.wins_per_item[i]),
            "infit": _finite(misfit.infit[i]),
            "outfit": _finite(misfit.outfit[i]),
        }
        for i in range(fit.n)
    ]
    return {
        "estimator": str(fit.estimator),
        "items": sorted(items, key=lambda item: item["rank"]),
        "position_bias": None if bias is None else {"estimate": bias.estimate, "se": _finite(bias.standard_error)},
        "reliability": {
            "eap": _finite(fit.reliability),
            "ssr": _finite(ssr),
            "ssr_formula": SEPARATION_RELIABILITY_FORMULA,
            "separation": _finite(separation(ssr)),
        },
        "graph": {"components": components(data).total, "strong_components": strong_components(data).total},
        "converged": fit.converged,
        "warnings": list(warnings),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def marked(result: Mapping[str, Any], fit: Fit, names: Sequence[str], marking: Marking) -> dict[str, Any]:
    """Return a result with what was asked for of `MARK_COLUMNS` in every item; marks with the digits they carry."""
    place = {name: i for i, name in enumerate(names)}
    added: list[dict[str, Any]] = [{} for _ in names]
    if marking.scale is not None:
        pairs = zip(marking.scale.marks(fit.theta), marking.scale.errors(fit.standard_error), strict=True)
        for item, (mark, error) in zip(added, (rounded(*pair) for pair in pairs), strict=True):
            item |= {"mark": _number_of(mark), "mark_se": _number_of(error)}
    if marking.grading is not None:
        grades, chances = marking.grading.grade_of(fit.theta).tolist(), marking.grading.probabilities(fit)
        for i, (item, grade) in enumerate(zip(added, grades, strict=True)):
            item |= {"grade": marking.grading.grades[grade], "grade_probability": round(float(chances[i, grade]), 3)}
    return {**result, "items": [item | added[place[item["id"]]] for item in result["items"]]}


def _number_of(text: str) -> float | None:
    return None if text == "-" else float(text) if "." in text else int(text)


def scored_csv(result: Mapping[str, Any]) -> str:
    """Return the items of a result as CSV, in full precision."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = CSV_COLUMNS + tuple(column for column in MARK_COLUMNS if column in result["items"][0])
    writer.writerow(columns)
    for item in result["items"]:
        low, high = item["ci95"]
        values = {**item, "ci95_low": low, "ci95_high": high}
        writer.writerow([values[column] for column in columns])
    return file.getvalue()


def print_scored(console: Console, result: Mapping[str, Any], *, judgements: int, judges: int | None) -> None:
    """Print a result as a table, with what it rests on above it."""
    for line in _headlines(result, judgements, judges):
        console.print(plain(line), soft_wrap=True)
    console.print(_table(result["items"]))


def _headlines(result: Mapping[str, Any], judgements: int, judges: int | None) -> Iterator[str]:
    by = "" if judges is None else f" by {judges} judge{'s' if judges != 1 else ''}"
    yield f"{len(result['items'])} items, {judgements} judgements{by}, estimator {result['estimator']}"
    reliability = result["reliability"]
    yield (
        f"Reliability {_number(reliability['eap'])} (EAP), {_number(reliability['ssr'])} "
        f"(SSR, {reliability['ssr_formula']}), separation {_number(reliability['separation'])}"
    )
    if result["position_bias"]:
        bias = result["position_bias"]
        yield f"Advantage of being presented first: {bias['estimate']:+.2f} logits (SE {_number(bias['se'])})"


def _table(items: Sequence[Mapping[str, Any]]) -> Table:
    # Narrow, so that 80 columns hold it with some room for the names, which are folded.
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("rank", justify="right")
    table.add_column("item", overflow="fold", min_width=12)
    last = tuple(name for name in ("mark", "grade") if name in items[0]) or ("judged", "wins", "infit", "outfit")
    for name in ("theta", "SE", "95 % interval", *last):
        table.add_column(name, justify="right", no_wrap=name != "grade", overflow="fold")
    for item in items:
        low, high = item["ci95"]
        table.add_row(
            str(item["rank"]),
            plain(item["id"]),
            f"{item['theta']:+.2f}",
            _number(item["se"]),
            "-" if low is None else f"{low:+.2f} .. {high:+.2f}",
            *(plain(_LAST[name](item)) for name in last),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


_LAST: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "judged": lambda item: str(item["comparisons"]),
    "wins": lambda item: f"{item['wins']:g}",
    "infit": lambda item: _number(item["infit"]),
    "outfit": lambda item: _number(item["outfit"]),
    "mark": lambda item: f"{item['mark']} ± {item['mark_se']}",
    "grade": lambda item: f"{item['grade']} ({item['grade_probability']:.0%})",
}
"""The last columns of the table: marks and grades when they are asked for, instead of counts and fit."""
