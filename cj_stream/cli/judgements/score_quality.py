"""What ``cj-stream score`` says to people about the quality of the data, below the ranking."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console

from cj_stream.cli.shared.rendering import plain
from cj_stream.scoring.estimation.data import Booleans, Floats
from cj_stream.scoring.estimation.existence import listed
from cj_stream.scoring.estimation.reliability import SEPARATION_RATIO_FORMULA
from cj_stream.scoring.quality.quality import JudgeReport, Order, Quality
from cj_stream.scoring.quality.residuals import HIGHEST_USUAL, LOWEST_USUAL, Misfit

_CURVE_POINTS = 6


def print_quality(console: Console, quality: Quality, items: Sequence[str]) -> None:
    """Print one line for each thing that can be said of the data."""
    console.print()
    for title, text in _lines(quality, items):
        console.print(plain(f"{title:<18} {text}"), soft_wrap=True)


def _lines(quality: Quality, items: Sequence[str]) -> Iterator[tuple[str, str]]:
    points = quality.rounds[:: max(1, math.ceil(len(quality.rounds) / _CURVE_POINTS))]
    curve = [point for point in points if point != quality.rounds[-1]] + quality.rounds[-1:]
    yield (
        "reliability",
        "EAP by judgements per item: " + ", ".join(f"{p.per_item:.3g}: {_number(p.reliability)}" for p in curve),
    )
    yield "levels", f"{_number(quality.strata, 1)} strata told apart; other SSR {_other(quality)}"
    halves = quality.halves
    if math.isfinite(halves.median):
        what = "judges" if halves.by_judges else "judgements"
        text = f"median correlation {_number(halves.median)} ({_number(halves.low)} .. {_number(halves.high)})"
        yield "split halves", f"{text} between random halves of the {what}"
    triads = quality.triads
    if triads.decided:
        yield "circular triads", f"{triads.circular} of {triads.decided} ({triads.share:.1%}; coin flips: 25 %)"
    yield from _order_lines(quality.order)
    yield "misfitting items", _misfits(quality.items, items)
    yield from _judge_lines(quality.judges)


def _other(quality: Quality) -> str:
    return f"{_number(quality.ratio_reliability)} ({SEPARATION_RATIO_FORMULA})"


def _order_lines(order: Order | None) -> Iterator[tuple[str, str]]:
    if order is None:
        return
    bias = order.bias
    text = f"{order.first_wins:.1%} of the wins went to the item presented first; advantage {bias.estimate:+.2f} logits"
    yield "order", f"{text} (SE {_number(bias.standard_error)})"
    if order.consistency.couples:
        couples = order.consistency.couples
        yield "both orders", f"{order.consistency.rate:.1%} of {couples} couples of verdicts agree"


def _judge_lines(judges: JudgeReport | None) -> Iterator[tuple[str, str]]:
    if judges is None:
        return
    if judges.agreement.couples:
        rate, couples = judges.agreement.rate, judges.agreement.couples
        yield "judges agree", f"on {rate:.1%} of {couples} couples of verdicts on the same pair"
    yield "misfitting judges", _misfits(judges.misfit, judges.names)


def _misfits(misfit: Misfit, names: Sequence[str]) -> str:
    flagged = _told(misfit.unusual, misfit.infit, names)
    outside = int(misfit.out_of_range.sum())
    return f"{flagged} (infit above mean + 2 SD); {outside} outside {LOWEST_USUAL} .. {HIGHEST_USUAL}"


def _told(flags: Booleans, values: Floats, names: Sequence[str]) -> str:
    worst_first = sorted(np.flatnonzero(flags).tolist(), key=lambda i: -values[i])
    return listed([names[i] for i in worst_first]) or "none"


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
