"""``cj-stream score``: score a data set of comparative judgements, of whatever origin."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import click

from cj_stream.cli.judgements.marking import MarkRequest, mark_options
from cj_stream.cli.judgements.score_output import marked, print_scored, scored, scored_csv
from cj_stream.cli.judgements.score_quality import print_quality
from cj_stream.cli.shared.output import console, echo_json, end_with_error, json_option, progress, reporting, warn
from cj_stream.judgement_files.anchors import anchors_among, read_anchors
from cj_stream.judgement_files.judgement_rows import ROWS_LEFT_OUT, Problem
from cj_stream.judgement_files.reader import Judgements, read_judgements
from cj_stream.scoring.estimation.data import Anchors
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.existence import NoEstimateError
from cj_stream.scoring.estimation.fit import Estimator, Fit
from cj_stream.scoring.quality.caveats import caveats
from cj_stream.scoring.quality.quality import assess

_PROBLEMS_SHOWN = 20

_EPILOG = """\b
Examples:
  cj-stream score judgements.csv
  cj-stream score judgements.csv --position --json > scores.json
  cj-stream score judgements.csv --anchor essay-3=-1.2 --anchor essay-8=0.9 --csv
  cj-stream score judgements.csv --marks 0,100 --grades C,-0.5,B,item:essay-7,A
\b
The file is a CSV with a heading (comma, semicolon or tab; UTF-8):
  judge,left,right,winner          the winner by its id, or left, right, tie
  judge,chosen,notChosen           as No More Marking exports it
  item1,item2,win1,win2            a table of numbers of wins
Exit codes: 0 scored, 1 no result, 2 wrong usage, 3 scored, but rows were left out.
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--estimator",
    "kind",
    type=click.Choice([str(kind) for kind in Estimator]),
    default=str(Estimator.MAP),
    show_default=True,
    help="Maximum a posteriori, maximum likelihood, bias-reduced, or as No More Marking scales are made.",
)
@click.option("--position", is_flag=True, help="Also estimate the advantage of being presented first.")
@click.option("--anchor", "anchor_pairs", multiple=True, metavar="ID=THETA", help="Hold the score of an item.")
@click.option("--anchors", "anchor_file", type=click.File("rb"), help="CSV with the columns id and theta to hold.")
@mark_options
@click.option("--csv", "as_csv", is_flag=True, help="Print the items as CSV.")
@json_option
def score(  # noqa: PLR0913 -- a parameter for each option
    *,
    file: str,
    kind: str,
    position: bool,
    anchor_pairs: tuple[str, ...],
    anchor_file: BinaryIO | None,
    marks: str | None,
    mark_anchors: tuple[str, ...],
    grades: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Score the judgements of FILE (- for standard input) and rank its items.

    Scores (theta) and standard errors (SE) are in logits, centred on 0. A tie counts as half a win for both.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    with reporting(ValueError, OSError):
        known = read_anchors(anchor_pairs, anchor_file.read() if anchor_file else None)
        judgements = _read(file, position=position)
        anchors = anchors_among(judgements.items, known)
    fit = _estimated(judgements, Estimator(kind), position=position, anchors=anchors)
    with reporting(ValueError):
        marking = MarkRequest(marks, mark_anchors, grades).made(fit, judgements.items)
    warnings = [*judgements.notes, *caveats(judgements.comparisons, fit, judgements.items, anchors)]
    result = scored(judgements.comparisons, fit, judgements.items, [*_left_out(judgements.problems), *warnings])
    _print(judgements, fit, marked(result, fit, judgements.items, marking), as_csv=as_csv, as_json=as_json)
    _report(judgements.problems)
    for warning in [] if as_json else warnings:
        warn(warning)
    if judgements.problems:
        sys.exit(ROWS_LEFT_OUT)


def _read(file: str, *, position: bool) -> Judgements:
    try:
        with click.open_file(file, "rb") as opened:
            judgements = read_judgements(opened.read())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if position and not judgements.ordered:
        raise ValueError(
            f"{file} does not say which item was presented first: give columns left, right and winner, "
            "or do without --position"
        )
    return judgements


def _estimated(judgements: Judgements, kind: Estimator, *, position: bool, anchors: Anchors | None) -> Fit:
    try:
        return estimate(judgements.comparisons, kind, position=position, anchors=anchors)
    except NoEstimateError as error:
        end_with_error(error.text(judgements.items))


def _print(judgements: Judgements, fit: Fit, result: dict[str, Any], *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        echo_json(result)
    elif as_csv:
        click.echo(scored_csv(result), nl=False)
    else:
        judges = None if judgements.judges is None else len(judgements.judges.names)
        print_scored(console, result, judgements=len(judgements.comparisons), judges=judges)
        with progress("assessing the judgements"):
            quality = assess(judgements.comparisons, fit, judgements.judges, ordered=judgements.ordered)
        print_quality(console, quality, judgements.items)


def _left_out(problems: tuple[Problem, ...]) -> list[str]:
    if not problems:
        return []
    lines = ", ".join(str(problem.line) for problem in problems[:_PROBLEMS_SHOWN])
    more = f" and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
    if len(problems) == 1:
        return [f"1 row was left out (line {lines})."]
    return [f"{len(problems)} rows were left out (lines {lines}{more})."]


def _report(problems: tuple[Problem, ...]) -> None:
    for problem in problems[:_PROBLEMS_SHOWN]:
        click.echo(f"Error: line {problem.line}: {problem.text}: the row is left out", err=True)
    if len(problems) > _PROBLEMS_SHOWN:
        click.echo(f"Error: {len(problems) - _PROBLEMS_SHOWN} more rows are left out", err=True)
