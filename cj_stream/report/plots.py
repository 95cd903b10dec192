"""The plots of a report, as SVG; all of them can be read in black and white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from cj_stream.report.drawing import axes, inline_svg, styled
from cj_stream.report.names import labels
from cj_stream.scoring.estimation.data import Comparisons, Floats, Integers

_WIDTH = 7.4
_PER_PLOT = 50  # what one printed page holds
_NAMES_WIDTH = 2.6
_LINE_HEIGHT = 0.165
_CELLS = 40
_CELLS_WITH_NUMBERS = 20
_LINES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ((0, (5, 1)), "v"), ((0, (1, 1)), "x"))


class Series(NamedTuple):
    """A line of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def caterpillar(names: Sequence[str], theta: Floats, interval: Floats) -> list[str]:
    """Return the scores (n,), best first, with their intervals (n, 2), in one plot for each 50 items."""
    reach = (float(interval.min()) - 0.2, float(interval.max()) + 0.2)
    names, starts = labels(names), range(0, len(names), _PER_PLOT)
    return [
        _caterpillar(names, theta, interval, range(start, min(start + _PER_PLOT, len(names))), reach)
        for start in starts
    ]


def _caterpillar(
    names: Sequence[str], theta: Floats, interval: Floats, places: range, reach: tuple[float, float]
) -> str:
    first, last, chosen = places.start + 1, places.stop, slice(places.start, places.stop)
    with styled(f"caterpillar-{first}"):
        figure, plot = axes(_WIDTH, 0.9 + _LINE_HEIGHT * len(places), _NAMES_WIDTH)
        ranks = np.arange(first, last + 1)
        plot.hlines(ranks, interval[chosen, 0], interval[chosen, 1], color="0.35", linewidth=1.4)
        plot.plot(theta[chosen], ranks, "o", color="black", markersize=3.6)
        plot.axvline(0.0, color="0.6", linewidth=0.8)
        plot.set_yticks(ranks, [f"{i + 1}. {names[i]}" for i in places])
        plot.set(xlim=reach, ylim=(last + 0.7, first - 0.7), xlabel="score (theta, logits) with its 95 % interval")
        plot.tick_params(axis="y", length=0, labelsize=8)
        title = f"Scores of the items ranked {first} to {last}"
        return inline_svg(
            figure, title, "One line for each item, best on top; the table of the ranking has the numbers."
        )


def line_chart(series: Sequence[Series], x_label: str, y_label: str, title: str, description: str) -> str:
    """Return lines between 0 and 1 against some amount; they differ by their dashes and markers.

    Points that are not finite are left out, and what is below 0 is not drawn.
    """
    with styled(title):
        figure, plot = axes(_WIDTH, 3.4, 0.7)
        for (dashes, marker), line in zip(_LINES, series, strict=False):
            known = np.isfinite(np.asarray(line.y, dtype=np.float64))
            x, y = np.asarray(line.x)[known], np.asarray(line.y)[known]
            plot.plot(x, y, linestyle=dashes, marker=marker, color="black", markersize=4, label=line.name)
        plot.set(xlabel=x_label, ylabel=y_label, ylim=(0.0, 1.02))
        plot.set_xlim(left=0)
        plot.legend(frameon=False)
        return inline_svg(figure, title, description)


def heat_map(data: Comparisons, ranks: Integers) -> str:
    """Return how often items were compared with one another, by their ``ranks`` (n,) from 1; many share cells."""
    size = min(data.n, _CELLS)
    cell = (ranks - 1) * size // data.n
    counts = np.zeros((size, size))
    np.add.at(counts, (cell[data.first], cell[data.second]), 1.0)
    counts = counts + counts.T
    counts[np.diag_indices(size)] /= 2.0
    width = data.n / size
    with styled("heat map"):
        figure, plot = axes(5.6, 5.4, 0.7)
        row, column = np.nonzero(counts)
        values = counts[row, column]
        largest = float(values.max(initial=1.0))
        area = (72.0 * 4.25 / size) ** 2 * 0.9
        x, y = (column + 0.5) * width + 0.5, (row + 0.5) * width + 0.5
        plot.scatter(
            x,
            y,
            s=area * values / largest,
            c=values,
            marker="s",
            cmap="Greys",
            vmin=-0.5 * largest,
            vmax=1.3 * largest,
            linewidths=0,
        )
        if size <= _CELLS_WITH_NUMBERS:
            for across, down, value in zip(x, y, values, strict=True):
                plot.text(
                    across,
                    down,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    color="white" if value > 0.6 * largest else "black",
                )
        ends = (0.5, data.n + 0.5)
        plot.set(xlim=ends, ylim=ends[::-1], xlabel="rank of one item", ylabel="rank of the other")
        for axis in (plot.xaxis, plot.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        plot.set_aspect("equal")
        size_told = f"The largest square stands for {largest:.0f} comparisons."
        plot.set_title(size_told, loc="left", fontsize=8, pad=2)
        return inline_svg(figure, "Who was compared with whom", f"Larger and darker is more often. {size_told}")
