"""How batches and rankings are shown to people, and written as CSV. Ids and texts in them are anybody's."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

Answer = Mapping[str, Any]

CSV_COLUMNS = (
    *("rank", "essay_id", "theta", "standard_error", "ci95_low", "ci95_high"),
    *("comparisons", "wins", "judged_by"),
)
STATE_STYLES = {"COMPLETED": "green", "FAILED": "red", "CANCELLED": "yellow"}
_ERROR_COLUMNS = ("index", "attempt", "error_code", "error_message")


def plain(value: object) -> Text:
    """Return ``value`` as text that shows what it is: no markup, no control sequences of a terminal."""
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value)))


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=STATE_STYLES.get(state, "cyan"))


def number(value: float | None, digits: int = 2) -> str:
    """Return a number for a table, a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def cost_text(answer: Answer) -> str:
    """Return what a batch has cost so far, in US dollars, and of what budget; empty where nothing is known of it."""
    cost, budget, known = answer.get("cost") or 0.0, answer.get("max_cost"), answer.get("cost_known", True)
    if not cost and budget is None:
        return ""
    limit = "" if budget is None else f" of ${budget:.2f}"
    return f"cost ${cost:.4f}{limit}{'' if known else ' and what verdicts of unknown price cost'}"


def ranking_table(result: Answer) -> Table:
    """Return the ranking, best essay first; theta, standard error and interval in logits."""
    table = Table()
    table.add_column("rank", justify="right")
    table.add_column("essay")
    for name in ("theta", "SE", "95 % interval", "comparisons", "wins"):
        table.add_column(name, justify="right")
    for row in result["ranking"]:
        table.add_row(
            str(row["rank"]),
            plain(row["essay_id"]),
            f"{row['theta']:+.2f}",
            number(row["standard_error"]),
            _interval(row["ci95"]),
            str(row["comparisons"]),
            f"{row['wins']:g}",
        )
    return table


def _interval(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:+.2f} .. {bounds[1]:+.2f}"


def _headline(result: Answer) -> Text:
    reliability = result["reliability"]
    kind = "final" if result["final"] else "provisional"
    stopped = f", stopped: {result['stop_reason']}" if result["stop_reason"] else ""
    cost = f", {told}" if (told := cost_text(result)) else ""
    reused = f", {count} of them taken over" if (count := result.get("reused_comparisons")) else ""
    return plain(
        f"{result['batch_id']}: {kind} ranking, {result['verdicts']} verdicts{reused}, "
        f"{result['iterations']} iterations, reliability {number(reliability['eap'])} (EAP){cost}{stopped}"
    )


def errors_table(errors: Sequence[Answer]) -> Table:
    """Return the last errors of a batch."""
    return rows_table("Last errors", _ERROR_COLUMNS, errors)


def rows_table(title: str, columns: Sequence[str], rows: Sequence[Answer]) -> Table:
    """Return rows as a table with these columns."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*(plain("-" if row.get(column) is None else row[column]) for column in columns))
    return table


def batches_table(batches: Sequence[Answer]) -> Table:
    """Return summaries of batches as a table."""
    # Narrow, so that 80 columns hold it; what is anybody's own length is folded.
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("batch", overflow="fold", min_width=12)
    for column in ("run", "state", "verdicts", "reliability"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", overflow="fold")
    for batch in batches:
        table.add_row(
            plain(batch["batch_id"]),
            str(batch["run"]),
            state_text(batch["state"]),
            f"{batch['completed_comparisons']}/{batch['expected_comparisons']}",
            number(batch["reliability"]),
            plain(batch["failure"] or batch["stop_reason"] or ""),
        )
    return table


def print_result(console: Console, result: Answer) -> None:
    """Print a ranking, who judged, and the essays that are not in it."""
    console.print(_headline(result), soft_wrap=True)
    if result["judged_by"]:
        console.print(plain(f"Judged by {_judges(result)}."), soft_wrap=True)
    for caution in result["cautions"]:
        console.print(plain(f"Beware: {caution}"), style="bold yellow", soft_wrap=True)
    console.print(ranking_table(result))
    if result["components"] > 1:
        console.print(f"The verdicts leave {result['components']} groups of essays that were never compared.")
    if result.get("flagged_essays"):
        columns = ("essay_id", "flag", "verdicts")
        console.print(rows_table("Essays that judges noticed something about", columns, result["flagged_essays"]))
    if result["failed_essays"]:
        console.print(rows_table("Essays that could not be ranked", ("essay_id", "reason"), result["failed_essays"]))


def print_failure(console: Console, detail: Answer, error_counts: Mapping[str, int]) -> None:
    """Print how a batch ended that has no ranking: the reason, and the counts behind it."""
    console.print(plain(detail["batch_id"] + ":"), state_text(detail["state"]), plain(detail["failure"] or ""))
    if told := cost_text(detail):
        console.print(plain(f"  {told}"), soft_wrap=True)
    for name, value in detail["failure_details"].items():
        console.print(plain(f"  {name.replace('_', ' ')}: {value}"), soft_wrap=True)
    if error_counts:
        errors = ", ".join(f"{count} x {code}" for code, count in error_counts.items())
        console.print(plain(f"  errors: {errors}"), soft_wrap=True)


def _judges(result: Answer) -> str:
    return "; ".join(judge["name"] for judge in result["judged_by"])


def result_csv(result: Answer) -> str:
    """Return the ranking as CSV with the columns of ``CSV_COLUMNS``; scores in full precision, logits."""
    file, judges = io.StringIO(), _judges(result)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in result["ranking"]:
        low, high = row["ci95"] or (None, None)
        values = {**row, "ci95_low": low, "ci95_high": high, "judged_by": judges}
        writer.writerow([values[column] for column in CSV_COLUMNS])
    return file.getvalue()
