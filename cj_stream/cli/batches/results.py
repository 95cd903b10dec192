"""``cj-stream results``: the ranking of a batch."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cj_stream.cli.shared.options import ask, url_option
from cj_stream.cli.shared.output import console, end_with_error, json_option
from cj_stream.cli.shared.rendering import print_result, result_csv

_EPILOG = """\b
Example:
  cj-stream results my-batch --format csv --output ranking.csv
"""


@click.command(epilog=_EPILOG)
@click.argument("batch_id")
@click.option("--format", "shape", default="table", show_default=True, type=click.Choice(["table", "csv", "json"]))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write CSV or JSON to this file.")
@url_option
@json_option
def results(*, batch_id: str, shape: str, output: Path | None, urls: tuple[str, ...], as_json: bool) -> None:
    """Show the ranking of a batch: rank, theta and its standard error (logits), 95 % interval, comparisons, wins.

    While the batch is being judged the ranking is provisional.
    """
    shape = "json" if as_json else shape
    if output is not None and shape == "table":
        raise click.UsageError("--output writes CSV or JSON: add --format csv or --format json")
    answer = ask(urls, lambda client: client.result(batch_id))
    if shape == "table":
        print_result(console, answer)
        return
    text = result_csv(answer) if shape == "csv" else json.dumps(answer, indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        end_with_error(f"cannot write {output}: {error.strerror}")
