"""How the result of ``cj-stream simulate`` looks: as JSON, and as tables with a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cj_stream.scoring.simulation.accuracy import Accuracy, Design, Expected, Scheme

_COLUMNS = {
    "Spearman": "spearman",
    "Kendall": "kendall",
    "RMSE": "rmse",
    "true rel.": "squared_correlation",
    "EAP rel.": "reliability",
    "95 % hold": "coverage",
}
_WIDTH = 50
"""Characters of the longest bar of the chart."""


def simulated(
    designs: Sequence[Design],
    numbers: Sequence[int],
    expected: Sequence[Sequence[Expected]],
    replications: int,
    seed: int,
) -> dict[str, Any]:
    """Return the result as JSON has it; ``expected`` of each design at each number of comparisons per essay."""
    judge, pairs = designs[0].judge, designs[0].essays * (designs[0].essays - 1) // 2
    return {
        "essays": designs[0].essays,
        "spread": designs[0].spread,
        "judge": {"kind": judge.kind.value, "quality": judge.quality, "position_bias": judge.position_bias},
        "wave_size": designs[0].wave_size,
        "replications": replications,
        "seed": seed,
        "pairs": pairs,
        "results": [
            {
                "pairing": design.scheme.value,
                "comparisons_per_essay": number,
                "comparisons": _comparisons(design, number, pairs),
                **_figures(row.mean),
                "monte_carlo_error": _figures(row.error),
            }
            for design, rows in zip(designs, expected, strict=True)
            for number, row in zip(numbers, rows, strict=True)
        ],
    }


def _comparisons(design: Design, number: int, pairs: int) -> int:
    """Only the uniform way compares a pair again."""
    planned = design.essays * number // 2
    return planned if design.scheme is Scheme.UNIFORM else min(planned, pairs)


def _figures(accuracy: Accuracy) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in accuracy._asdict().items()}


def print_simulated(console: Console, result: dict[str, Any]) -> None:
    """Print the table of accuracies and the chart."""
    judge = result["judge"]
    console.print(
        f"{result['essays']} essays, spread {result['spread']:g} logits; judge {judge['kind']}, quality "
        f"{judge['quality']:g}, position bias {judge['position_bias']:g} logits; waves of {result['wave_size']} pairs; "
        f"means of {result['replications']} simulated batches, seed {result['seed']}\n"
    )
    console.print(_table(result["results"]))
    console.print(f"\nMonte Carlo error, the standard error of these means: {_errors(result['results'])}.\n")
    console.print(accuracy_chart(result["results"]))
    if any(result["essays"] * row["comparisons_per_essay"] // 2 > result["pairs"] for row in result["results"]):
        console.print(f"\nThe essays make {result['pairs']} pairs: without repeats there are no more comparisons.")


def accuracy_chart(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Plot the agreement with the truth against comparisons per essay, a bar for each way of pairing."""
    chart = Table.grid(padding=(0, 1))
    chart.add_row("", "", Text("agreement with the truth (Spearman), 0 to 1"))
    for number in sorted({row["comparisons_per_essay"] for row in rows}):
        label = f"{number}"
        for row in (row for row in rows if row["comparisons_per_essay"] == number):
            length = round(_WIDTH * max(row["spearman"], 0.0))
            bar = Text("█" * length + "·" * (_WIDTH - length) + f" {row['spearman']:.2f}")
            chart.add_row(Text(label, justify="right"), row["pairing"], bar)
            label = ""
    return chart


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("per essay", "in all", *_COLUMNS):
        table.add_column(heading, justify="right")
    table.add_column("pairing")
    for row in sorted(rows, key=lambda row: int(row["comparisons_per_essay"])):
        figures = ["-" if row[name] is None else f"{row[name]:.2f}" for name in _COLUMNS.values()]
        table.add_row(str(row["comparisons_per_essay"]), str(row["comparisons"]), *figures, row["pairing"])
    return table


def _errors(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the largest error of each figure."""
    told = []
    for heading, name in _COLUMNS.items():
        errors = [row["monte_carlo_error"][name] for row in rows if row["monte_carlo_error"][name] is not None]
        told.append(f"{heading} {max(errors):.2g}" if errors else f"{heading} not known")
    return "at most " + ", ".join(told)
