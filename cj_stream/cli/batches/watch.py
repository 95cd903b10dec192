"""``cj-stream watch``: batches until they end."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from cj_stream.cli.batches import live_progress
from cj_stream.cli.shared.options import ask, url_option
from cj_stream.cli.shared.output import echo_json, json_option

_EPILOG = """\b
Example:
  cj-stream watch my-batch other-batch && cj-stream results my-batch
"""


@click.command(epilog=_EPILOG)
@click.argument("batch_ids", nargs=-1, required=True, metavar="BATCH_ID...")
@url_option
@json_option
def watch(*, batch_ids: tuple[str, ...], urls: tuple[str, ...], as_json: bool) -> None:
    """Show the progress of batches until all have ended. Exit code 0 only if every one was COMPLETED."""
    # Whoever reads JSON from standard output sees the progress beside it.
    console = Console(stderr=as_json)
    details = ask(urls, lambda client: live_progress.show_until_ended(client, batch_ids, console))
    if as_json:
        echo_json(details)
    if any(detail["state"] != "COMPLETED" for detail in details):
        sys.exit(1)
