"""``cj-stream list``: the batches of all workers."""

from __future__ import annotations

import sys
from typing import Any

import click

from cj_stream.cli.shared.degraded import tell_degraded
from cj_stream.cli.shared.options import ask, url_option
from cj_stream.cli.shared.output import console, echo_json, json_option
from cj_stream.cli.shared.rendering import batches_table, plain
from cj_stream.domain.states import BatchState

INCOMPLETE = 3
"""Exit code of an answer that lacks what some worker did not tell."""
_PAGE = 1000

_EPILOG = """\b
Examples:
  cj-stream list --state WAITING_CALLBACKS
  cj-stream list --all --json
"""


@click.command(name="list", epilog=_EPILOG)
@click.option("--state", type=click.Choice([state.value for state in BatchState], case_sensitive=False))
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, _PAGE), help="Batches shown.")
@click.option("--after", metavar="PLACE", help="Go on where a page ended: it says how.")
@click.option("--all", "everything", is_flag=True, help="Show all, page by page.")
@url_option
@json_option
def list_batches(
    *, state: str | None, limit: int, after: str | None, everything: bool, urls: tuple[str, ...], as_json: bool
) -> None:
    """List batches: those that live first, each kind the newest first.

    The exit code is 3 when the list is incomplete, because some worker or partition did not answer.
    """
    answer = ask(urls, lambda client: client.all_batches(state) if everything else client.batches(state, limit, after))
    if as_json:
        echo_json(answer)
    else:
        _show(answer, state, after)
    tell_degraded(answer)
    if not answer["complete"]:
        sys.exit(INCOMPLETE)


def _show(answer: dict[str, Any], state: str | None, after: str | None) -> None:
    if answer["batches"]:
        console.print(batches_table(answer["batches"]))
    elif answer["complete"]:
        console.print(_nothing(state, after))
    shown, total = len(answer["batches"]), answer["total"]
    if answer["next"]:
        console.print(f"{shown} of {total} batches. The next: cj-stream list --after {answer['next']}", soft_wrap=True)
    elif shown != total:
        console.print(f"{shown} of {total} batches: the last of them.")
    if not answer["complete"]:
        console.print(plain(f"Incomplete: {_missing(answer)}. Ask again in a moment."), soft_wrap=True)


def _nothing(state: str | None, after: str | None) -> str:
    if after:
        return "No more batches."
    return f"No batches in state {state}." if state else "No batches yet. Next: cj-stream submit FOLDER"


def _missing(answer: dict[str, Any]) -> str:
    workers, partitions = answer["workers_missing"], answer.get("partitions_missing", ())
    found = [f"no full answer from {', '.join(workers)}"] if workers else []
    if partitions:
        found.append(f"nobody serves partitions {', '.join(map(str, partitions))} now")
    return "; ".join(found)
