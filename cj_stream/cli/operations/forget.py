"""``cj-stream forget``: deletes what is kept of a batch, an essay or a user, and says what stays, and until when."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from cj_stream.cli.operations.forgotten_letters import forget_letters, letters_naming
from cj_stream.cli.operations.whereabouts import OUT_OF_REACH, KeptPlace, check_gateway_settings, places
from cj_stream.cli.shared.broker import ask_kafka, reporting_kafka
from cj_stream.cli.shared.options import ask, load_settings, url_option
from cj_stream.cli.shared.output import console, echo_json, json_option, reporting, warn
from cj_stream.cli.shared.rendering import plain
from cj_stream.cli.shared.views_client import NOT_FOUND, ViewError, ViewsClient
from cj_stream.engine.dead_letter_topic import DeadLetterError
from cj_stream.operations.environment import BadSettingsError
from cj_stream.operations.settings import Settings

GONE_SECONDS = 30.0
"""How long the rows of a batch may take to go once the command was taken."""
_POLL_SECONDS = 0.2
_SHOWN = 5

_EPILOG = """\b
Examples:
  cj-stream forget --batch spring-2026
  cj-stream forget --user 4711 --yes --json
"""


class Found(NamedTuple):
    """What there is to be forgotten: batches by id, as the views list them, and the numbers of dead letters."""

    batches: dict[str, dict[str, Any]]
    missing: list[str]
    """Workers and partitions that could not be asked."""
    letters: list[int]


@click.command(epilog=_EPILOG)
@click.option("--batch", help="Every run of this batch.")
@click.option("--essay", help="Every batch that has an essay of this id, whole: without it, its ranking is another.")
@click.option("--user", help="Every batch that this user has asked for.")
@click.option("--reason", help="Kept in the log of events until that is deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@url_option
@json_option
def forget(*, reason: str | None, yes: bool, urls: tuple[str, ...], as_json: bool, **named: str | None) -> None:
    """Delete for good what is kept of a batch, of an essay, or of a user, and say what stays, and until when.

    Batches must have ended (see cj-stream cancel). Their rows go from the table, dead letters that name what is to be
    forgotten from their topic, and texts from the memory of the worker. What Kafka and others keep is listed, with the
    time until which they do. Asked again, it does what is left to do. The exit code is 1 when something was not done.
    """
    given = {kind: name for kind, name in named.items() if name is not None}
    if len(given) != 1:
        raise click.UsageError("say what to forget: --batch, --essay or --user, one of them")
    settings = load_settings()
    with reporting(BadSettingsError):
        check_gateway_settings()
    found = _find(settings, given, urls)
    if (found.batches or found.letters) and not yes:
        click.confirm(f"{_question(found)}\nDelete this for good?", abort=True, err=True)
    left = ask(urls, lambda client: _forget_batches(client, list(found.batches), reason))
    with reporting_kafka(DeadLetterError):
        moved = asyncio.run(forget_letters(settings, found.letters)) if found.letters else 0
        kept = ask_kafka(settings.kafka_bootstrap, places(settings, time.time()))
    _tell(found, left, moved, kept, as_json=as_json)
    if left or found.missing:
        sys.exit(1)


def _find(settings: Settings, given: dict[str, str], urls: tuple[str, ...]) -> Found:
    batches, missing = ask(urls, lambda client: _batches(client, **given))
    with reporting_kafka(DeadLetterError):
        letters = asyncio.run(letters_naming(settings, {*given.values(), *batches}))
    return Found(batches, missing, letters)


async def _batches(
    client: ViewsClient, batch: str | None = None, **wanted: str
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    if batch is not None:
        line = await _shown(client, batch)
        return ({} if line is None else {batch: line}), []
    answer = await client.all_batches(**wanted)
    missing = [*answer["workers_missing"], *(f"partition {each}" for each in answer["partitions_missing"])]
    # Every run is a line: what ended is forgotten with what came before.
    return {line["batch_id"]: line for line in reversed(answer["batches"])}, missing


async def _shown(client: ViewsClient, batch_id: str) -> dict[str, Any] | None:
    try:
        return await client.batch(batch_id)
    except ViewError as error:
        if error.status == NOT_FOUND:
            return None
        raise


async def _forget_batches(client: ViewsClient, batch_ids: Sequence[str], reason: str | None) -> dict[str, str]:
    """Have batches forgotten, one after the other; return why some were not."""
    left = {}
    for batch_id in batch_ids:
        try:
            await client.command("forget", batch_id, reason)
            if not await _is_gone(client, batch_id):
                left[batch_id] = f"its rows are still there after {GONE_SECONDS:g} s: ask again"
        except ViewError as error:
            if error.status != NOT_FOUND:
                left[batch_id] = str(error)
    return left


async def _is_gone(client: ViewsClient, batch_id: str) -> bool:
    deadline = time.monotonic() + GONE_SECONDS
    while await _shown(client, batch_id) is not None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def _question(found: Found) -> str:
    named = [f"{batch_id} ({line['state']})" for batch_id, line in found.batches.items()]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    batches = f"{len(named)} batch(es), with all their runs, verdicts and rankings: {', '.join(named[:_SHOWN])}{more}"
    return plain(f"{batches if named else 'No batch'}; {len(found.letters)} dead letter(s).").plain


def _tell(found: Found, left: dict[str, str], moved: int, kept: list[KeptPlace], *, as_json: bool) -> None:
    forgotten = [batch_id for batch_id in found.batches if batch_id not in left]
    if as_json:
        answer = {
            "forgotten": forgotten,
            "left": left,
            "missing": found.missing,
            "dead_letters": {"deleted": len(found.letters), "written_again": moved},
            "kept": [place.row for place in kept],
            "out_of_reach": list(OUT_OF_REACH),
        }
        echo_json(answer)
    else:
        console.print(f"{len(forgotten)} batch(es) and {len(found.letters)} dead letter(s) are deleted.")
        console.print("What Kafka still holds of what was deleted:")
        for place in kept:
            console.print(plain(f"  {place.name}, {place.what}: {place.until}"), soft_wrap=True)
        console.print("What this command does not reach:")
        for sentence in OUT_OF_REACH:
            console.print(plain(f"  {sentence}"), soft_wrap=True)
    for batch_id, why in left.items():
        warn(plain(f"{batch_id} is not forgotten: {why}").plain)
    if found.missing:
        warn(f"not all could be asked, so ask again: {', '.join(found.missing)}")
