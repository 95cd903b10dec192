"""How the result of ``cj-stream simulate`` looks: as JSON, and as tables with a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cj_stream.scoring.study import Accuracy, Design

_WIDTH = 50
"""Characters of the longest bar of the chart."""


def simulated(
    designs: Sequence[Design],
    numbers: Sequence[int],
    accuracies: Sequence[Sequence[Accuracy]],
    replications: int,
    seed: int,
) -> dict[str, Any]:
    """Return the result as JSON has it; ``accuracies`` of each design at each number of comparisons per essay."""
    judge = designs[0].judge
    return {
        "essays": designs[0].essays,
        "spread": designs[0].spread,
        "judge": {"kind": judge.kind.value, "quality": judge.quality, "position_bias": judge.position_bias},
        "wave_size": designs[0].wave_size,
        "replications": replications,
        "seed": seed,
        "pairs": designs[0].essays * (designs[0].essays - 1) // 2,
        "results": [
            {
                "pairing": design.scheme.value,
                "comparisons_per_essay": number,
                "comparisons": design.essays * number // 2,
            }
            | {name: _finite(value) for name, value in accuracy._asdict().items()}
            for design, rows in zip(designs, accuracies, strict=True)
            for number, accuracy in zip(numbers, rows, strict=True)
        ],
    }


def print_simulated(console: Console, result: dict[str, Any]) -> None:
    """Print the table of accuracies and the chart."""
    judge = result["judge"]
    console.print(
        f"{result['essays']} essays, spread {result['spread']:g} logits; judge {judge['kind']}, quality "
        f"{judge['quality']:g}, position bias {judge['position_bias']:g} logits; waves of {result['wave_size']} pairs; "
        f"means of {result['replications']} simulated batches, seed {result['seed']}\n"
    )
    console.print(_table(result["results"]))
    console.print()
    console.print(accuracy_chart(result["results"]))
    if any(row["comparisons"] > result["pairs"] for row in result["results"]):
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
    headings = ("Spearman", "Kendall", "RMSE", "true rel.", "reported rel.", "95 % hold")
    for heading in ("per essay", "comparisons", *headings):
        table.add_column(heading, justify="right")
    table.add_column("pairing")
    for row in sorted(rows, key=lambda row: int(row["comparisons_per_essay"])):
        names = ("spearman", "kendall", "rmse", "squared_correlation", "reliability", "coverage")
        figures = ["-" if row[name] is None else f"{row[name]:.2f}" for name in names]
        table.add_row(str(row["comparisons_per_essay"]), str(row["comparisons"]), *figures, row["pairing"])
    return table


def _finite(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 (the test for NaN, which JSON has not)
