"""``cj-stream list``: the batches of all workers."""

from __future__ import annotations

import click

from cj_stream.cli.options import ask, url_option
from cj_stream.cli.output import console, echo_json, json_option, warn
from cj_stream.cli.rendering import batches_table
from cj_stream.domain.states import BatchState

_EPILOG = """\b
Example:
  cj-stream list --state WAITING_CALLBACKS
"""


@click.command(name="list", epilog=_EPILOG)
@click.option("--state", type=click.Choice([state.value for state in BatchState], case_sensitive=False))
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="Newest batches shown.")
@url_option
@json_option
def list_batches(*, state: str | None, limit: int, urls: tuple[str, ...], as_json: bool) -> None:
    """List batches, the newest first."""
    answer = ask(urls, lambda client: client.batches(state, limit))
    if as_json:
        echo_json(answer)
    elif answer["batches"]:
        console.print(batches_table(answer["batches"]))
    else:
        console.print("No batches" + (f" in state {state}." if state else " yet. Next: cj-stream submit FOLDER"))
    if answer["workers_missing"]:
        warn(f"these workers did not answer, so their batches are missing: {', '.join(answer['workers_missing'])}")
