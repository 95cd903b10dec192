"""``cj-stream partitions``: those that stand at a record batch that cannot be read, and going on behind it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import click
from aiokafka.structs import TopicPartition

from cj_stream.cli.batches.list import INCOMPLETE
from cj_stream.cli.shared.options import ask, load_settings, url_option
from cj_stream.cli.shared.output import console, echo_json, end_with_error, json_option, progress, reporting, warn
from cj_stream.cli.shared.rendering import plain
from cj_stream.dead_letters.letter import envelope
from cj_stream.engine.changelog import ChangelogError, group_members
from cj_stream.engine.record_batches import Damage, salvaged_keys
from cj_stream.engine.rows import HEARTBEAT_KEY
from cj_stream.engine.stepping import Surviving, read_past, step_over
from cj_stream.operations.settings import Settings
from cj_stream.tables.codec import read_key


@click.group(epilog="Example:  cj-stream partitions list")
def partitions() -> None:
    """Show the partitions that cannot be read on, and go on behind what cannot be read."""


@partitions.command(name="list", epilog="Example:  cj-stream partitions list --json")
@url_option
@json_option
def list_partitions(*, urls: tuple[str, ...], as_json: bool) -> None:
    """List the partitions that stand: where, since when, why, and what that means."""
    answer = ask(urls, lambda client: client.standing_partitions())
    if as_json:
        echo_json(answer)
    elif answer["standing"] or not answer["complete"]:
        for row in answer["standing"]:
            _print(row)
    else:
        console.print("No partition stands: all input is read.")
    if not answer["complete"]:
        warn(f"not all workers answered: {', '.join(answer['workers_missing'])}")
        sys.exit(INCOMPLETE)


@partitions.command(name="step-over", epilog="Example:  cj-stream partitions step-over my.topic 3 1042")
@click.argument("topic")
@click.argument("partition", type=click.IntRange(min=0))
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--behind", type=click.IntRange(min=1), help="Offset to go on at, where that cannot be told.")
@click.option("--accept-loss", is_flag=True, help="Needed for the log of events and the changelog: see what is lost.")
@url_option
@json_option
def step(*, topic: str, partition: int, offset: int, as_json: bool, **options: Any) -> None:
    """Go on behind the one batch of records that PARTITION of TOPIC stands at, at OFFSET.

    What there is of it goes to the dead letters, with the reason. Input is not lost by it: send again what belongs
    there. Events and rows of the table are; what is lost is listed, and --accept-loss needed. The workers run on, but
    for the changelog: all of them must be stopped then.
    """
    settings = load_settings()
    if topic == settings.changelog_topic:
        answer = _step_over_changelog(settings, partition, offset, accept_loss=options["accept_loss"])
    else:
        body = {"offset": offset, "behind": options["behind"], "accept_loss": options["accept_loss"]}
        answer = ask(options["urls"], lambda client: client.step_over(topic, partition, body))
    if as_json:
        echo_json(answer)
    else:
        console.print(
            plain(f"Stepping over {answer['lost']}; see cj-stream dlq list --reason not_read"), soft_wrap=True
        )


def _print(row: dict[str, Any]) -> None:
    where = f"{row['topic']}, partition {row['partition']}, offset {row['offset']}"
    console.print(plain(f"{where}: {row['why']}"), soft_wrap=True)
    console.print(plain(f"  since {row['since']}, told by {row['worker']}: {row['meaning']}"), soft_wrap=True)


def _step_over_changelog(settings: Settings, partition: int, offset: int, *, accept_loss: bool) -> dict[str, Any]:
    kafka, at = settings.kafka, TopicPartition(settings.changelog_topic, partition)
    with reporting(ChangelogError):
        _check_group(settings)
        with progress("reading the changelog"):
            surviving = asyncio.run(read_past(kafka, at.topic, partition))
        damage = _named(surviving, at, offset)
        lost = f"offsets {offset} to {(damage.behind or offset) - 1} of partition {partition}"
        named = ", ".join(batches_in(damage)) or "none that can be read in it"
        if not accept_loss:
            end_with_error(
                f"rows of the table are lost for good: {lost}; batches: {named}. If the folder of a worker has a copy "
                "that goes beyond, write it back afterwards (cj-stream changelog rebuild). To accept it: --accept-loss"
            )
        with progress("writing what is there once more"):
            letters = settings.dead_letters_topic
            written = asyncio.run(step_over(kafka, at, surviving, damage, letters, envelope))
    return {"topic": at.topic, "partition": partition, "lost": f"{lost}; batches: {named}", "rows_written": written}


def batches_in(damage: Damage) -> list[str]:
    """Return the runs of batches that a damaged record batch had rows of, as far as keys in it can still be read."""
    found = set()
    for key in salvaged_keys(damage.batch):
        with suppress(ValueError, IndexError, UnicodeDecodeError):
            if key != HEARTBEAT_KEY:
                batch_id, run = read_key(key)
                found.add(f"{batch_id}, run {run}")
    return sorted(found)


def _named(surviving: Surviving, at: TopicPartition, offset: int) -> Damage:
    damage = next((damage for damage in surviving.damages if damage.offset == offset), None)
    if damage is not None:
        return damage
    known = ", ".join(str(damage.offset) for damage in surviving.damages) or "none"
    return end_with_error(f"{at.topic}-{at.partition} has no damaged batch at {offset}; those there are: {known}")


def _check_group(settings: Settings) -> None:
    members = asyncio.run(group_members(settings.kafka, settings.app_id))
    if members:
        end_with_error(
            f"{members} worker(s) are in the group {settings.app_id}: stop all workers first. One that was killed "
            f"counts until its session is over, {settings.session_timeout_seconds:g} s later"
        )
