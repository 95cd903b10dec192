"""``cj-stream report``: a page about a batch, or about a file of judgements, that can be kept, printed and sent."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import click

from cj_stream.cli.judgements.marking import MarkRequest, mark_options
from cj_stream.cli.judgements.report_batch import batch_data
from cj_stream.cli.shared.options import ask, url_option
from cj_stream.cli.shared.output import end_with_error, progress, reporting, warn
from cj_stream.judgement_files.anchors import anchors_among, read_anchors
from cj_stream.judgement_files.judgement_rows import ROWS_LEFT_OUT
from cj_stream.judgement_files.reader import read_judgements
from cj_stream.report.analysis import Analysis
from cj_stream.scoring.estimation.data import Anchors, Comparisons, Judges
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.existence import NoEstimateError
from cj_stream.scoring.estimation.fit import Estimator, Fit
from cj_stream.scoring.quality.caveats import caveats
from cj_stream.scoring.quality.quality import assess

_MISSING_EXTRA = (
    "the report needs {name}, which is not installed: install cj-stream with its extra `report` "
    "(pip install 'cj-stream[report]'), or run `make setup` in a clone"
)
_EPILOG = """\b
Examples:
  cj-stream report my-batch --output ranking.html
  cj-stream report judgements.csv --marks 0,100 --grades C,-0.5,B,0.8,A
  cj-stream report judgements.csv --mark essay-3=40 --mark essay-8=85
\b
Grades and their boundaries take turns, lowest first. A boundary is a score in logits, or item:ID for the score of an
item: --grades "C,-0.5,B,item:essay-7,A".
\b
Exit codes: 0 written, 1 no page, 2 wrong usage, 3 written, but rows of the file were left out.
"""

_TOLD = 20


class _Source(NamedTuple):
    """Judgements with their origin: the fields of `Analysis` that are known before the scores are."""

    title: str
    items: tuple[str, ...]
    data: Comparisons
    judges: Judges | None
    ordered: bool
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    """What could not be used of a file, a sentence for each row."""
    warnings: tuple[str, ...]
    adaptive: bool | None
    position: bool
    """Whether the scores are always fitted with the position term, as those of a batch are."""


@click.command(epilog=_EPILOG)
@click.argument("source", metavar="ID|FILE")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the page here; - is standard output.  [default: the name of what it is about, ending in .html]",
)
@click.option(
    "--estimator",
    "kind",
    type=click.Choice([str(kind) for kind in Estimator]),
    default=str(Estimator.MAP),
    show_default=True,
    help="As for `cj-stream score`.",
)
@click.option(
    "--position", is_flag=True, help="Fit the advantage of being presented first, as is always done for a batch."
)
@click.option("--anchor", "anchor_pairs", multiple=True, metavar="ID=THETA", help="Hold the score of an item.")
@click.option("--anchors", "anchor_file", type=click.File("rb"), help="CSV with the columns id and theta to hold.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of splits and rank intervals.")
@mark_options
@url_option
def report(  # noqa: PLR0913 -- one parameter for each option
    *,
    source: str,
    output: Path | None,
    kind: str,
    position: bool,
    anchor_pairs: tuple[str, ...],
    anchor_file: BinaryIO | None,
    seed: int,
    marks: str | None,
    mark_anchors: tuple[str, ...],
    grades: str | None,
    urls: tuple[str, ...],
) -> None:
    """Write an HTML page about a batch (by its ID), or about a CSV FILE of judgements as `cj-stream score` reads it.

    Ranking, uncertainty, reliability, misfit, judges, position bias, and how all of it was computed. The page needs
    no network: it can be printed, kept and sent.
    """
    make_page = _page_maker()
    with reporting(ValueError, OSError), progress("making the page"):
        origin = _from_file(source) if _is_file(source) else _from_batch(source, urls)
        if position and not origin.ordered:
            raise ValueError(f"{source} does not say which item was presented first: do without --position")
        known = read_anchors(anchor_pairs, anchor_file.read() if anchor_file else None)
        anchors = anchors_among(origin.items, known)
        fit = _estimated(origin, Estimator(kind), position=position or origin.position, anchors=anchors)
        marking = MarkRequest(marks, mark_anchors, grades).made(fit, origin.items)
        study = Analysis(
            title=origin.title,
            items=origin.items,
            data=origin.data,
            ordered=origin.ordered,
            fit=fit,
            quality=assess(origin.data, fit, origin.judges, ordered=origin.ordered, seed=seed),
            marking=marking,
            facts=origin.facts,
            settings=origin.settings,
            warnings=(*origin.left_out, *origin.warnings, *caveats(origin.data, fit, origin.items, anchors)),
            adaptive=origin.adaptive,
            seed=seed,
        )
        _write(make_page(study), output or _default_name(origin.title))
    for sentence in origin.left_out:
        warn(sentence)
    if origin.left_out:
        sys.exit(ROWS_LEFT_OUT)


def _page_maker() -> Callable[[Analysis], str]:
    try:
        from cj_stream.report.page import page  # noqa: PLC0415 -- of an extra that may not be installed
    except ModuleNotFoundError as error:
        end_with_error(_MISSING_EXTRA.format(name=error.name))
    return page


def _is_file(source: str) -> bool:
    """Whether it is a file rather than the id of a batch. A file that is not there is told as such, not asked for."""
    path = Path(source)
    return source == "-" or path.exists() or path.suffix.lower() in {".csv", ".tsv", ".txt"}


def _from_file(source: str) -> _Source:
    try:
        with click.open_file(source, "rb") as opened:
            content = opened.read()
        found = read_judgements(content)
    except OSError as error:
        raise ValueError(f"cannot read {source}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    left_out = [f"Line {problem.line} of the file was left out: {problem.text}." for problem in found.problems]
    title = "judgements" if source == "-" else Path(source).name
    facts = (("file", title), ("SHA-256 of the file", hashlib.sha256(content).hexdigest()))
    return _Source(
        title=title,
        items=found.items,
        data=found.comparisons,
        judges=found.judges,
        ordered=found.ordered,
        facts=facts,
        settings=(),
        left_out=tuple(_shortened(left_out)),
        warnings=found.notes,
        adaptive=None,
        position=False,
    )


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - _TOLD
    return sentences if more <= 0 else [*sentences[:_TOLD], f"{more} more lines of the file were left out."]


def _from_batch(batch_id: str, urls: tuple[str, ...]) -> _Source:
    found = ask(urls, lambda client: batch_data(client, batch_id))
    return _Source(
        title=batch_id,
        items=found.items,
        data=found.data,
        judges=found.judges,
        ordered=True,
        facts=found.facts,
        settings=found.settings,
        left_out=(),
        warnings=found.warnings,
        adaptive=found.adaptive,
        position=True,
    )


def _estimated(origin: _Source, kind: Estimator, *, position: bool, anchors: Anchors | None) -> Fit:
    try:
        return estimate(origin.data, kind, position=position, anchors=anchors)
    except NoEstimateError as error:
        raise ValueError(error.text(origin.items)) from error


def _default_name(title: str) -> Path:
    """Return a name for the page: titles are anybody's text, so nothing but letters, digits, dots and dashes stays."""
    plain = re.sub(r"[^\w.-]+", "-", title, flags=re.ASCII).strip(".-")[:80]
    return Path(f"{plain or 'report'}.html")


def _write(text: str, output: Path) -> None:
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        end_with_error(f"cannot write {output}: {error.strerror}")
    click.echo(f"Wrote {output}")
