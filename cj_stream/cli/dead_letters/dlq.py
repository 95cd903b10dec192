"""``cj-stream dlq``: the dead letters, input that the service has refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from cj_stream.cli.dead_letters.letter_output import full_row, letter_row, letters_table, print_letter
from cj_stream.cli.dead_letters.selection import Filters, Moment, filter_options, one, select
from cj_stream.cli.shared.broker import reporting_kafka
from cj_stream.cli.shared.options import load_settings
from cj_stream.cli.shared.output import (
    console,
    echo_json,
    end_with_error,
    json_option,
    progress,
    reporting,
    telling_when_slow,
    warn,
)
from cj_stream.cli.shared.rendering import plain
from cj_stream.dead_letters.letter import StoredDeadLetter, read_dead_letter
from cj_stream.dead_letters.sending import Replayed, replay_all
from cj_stream.engine.dead_letter_topic import (
    DeadLetterError,
    DeadLetterTopic,
    KeptLetter,
    Span,
    open_dead_letters,
)
from cj_stream.operations.settings import Settings

Result = TypeVar("Result")
Report = Callable[[str], None]


@click.group(epilog="Example:  cj-stream dlq list --reason not_json --since 2h")
def dlq() -> None:
    """Look at refused input, send it again, or delete it.

    What the service refuses goes to the dead-letter topic (CJ_DEAD_LETTERS_TOPIC) with its reason, and is kept there
    for 30 days. A dead letter is known by its number, its offset on that topic.
    """


@dlq.command(name="list", epilog="Example:  cj-stream dlq list --reason not_json --since 2h --limit 50")
@filter_options
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Newest ones shown.")
@json_option
def list_letters(*, limit: int, as_json: bool, **filters: Any) -> None:
    """List dead letters, the newest first."""
    wanted = Filters(**filters)

    async def newest(
        topic: DeadLetterTopic[StoredDeadLetter], span: Span, report: Report
    ) -> tuple[Span, list[dict[str, Any]]]:
        looked_at = span if wanted.names_anything else Span(max(span.first, span.end - limit), span.end)
        rows: deque[dict[str, Any]] = deque(maxlen=limit)
        async for kept in select(topic, looked_at, wanted, report):
            rows.append(letter_row(kept))
        return span, list(reversed(rows))

    span, rows = _with_topic(newest)
    if as_json:
        echo_json({"kept": span.end - span.first, "dead_letters": rows})
    elif rows:
        console.print(letters_table(rows))
        console.print(
            f"{len(rows)} shown of {span.end - span.first} kept. Next: cj-stream dlq show {rows[0]['number']}"
        )
    else:
        console.print("No dead letters" + (" like that." if wanted.names_anything else "."))


@dlq.command(epilog="Example:  cj-stream dlq show 17 --output refused.json")
@click.argument("number", type=click.IntRange(min=0))
@click.option("--bytes", "shown", default=2_000, show_default=True, type=click.IntRange(min=0), help="Of the value.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the value as it is to a file.")
@json_option
def show(*, number: int, shown: int, output: Path | None, as_json: bool) -> None:
    r"""Show one dead letter: why it was refused, where it stood, its key and its value.

    What cannot be printed is shown as an escape such as \x1b, so that no value can do anything to the terminal.
    """
    kept = _with_topic(lambda topic, span, _report: one(topic, span, number))
    if output is not None:
        with reporting(OSError):
            output.write_bytes((kept.letter and kept.letter.value) or b"")
    if as_json:
        echo_json(full_row(kept))
    else:
        print_letter(console, kept, shown)


@dlq.command(
    epilog="Example:  cj-stream dlq replay 17 18    or:  cj-stream dlq replay --reason too_many_essays --dry-run"
)
@click.argument("numbers", nargs=-1, type=click.IntRange(min=0))
@filter_options
@click.option("--all", "everything", is_flag=True, help="All that are kept.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
def replay(*, numbers: tuple[int, ...], everything: bool, dry_run: bool, as_json: bool, **filters: Any) -> None:
    """Send dead letters again, key and value as they came, to the topic they came from.

    Only those are sent that pass the validation of this version under these settings, which is the workers' own; the
    others are named with the reason, and the exit code is 1. A dead letter stays where it is. Sending it twice does no
    harm: a repeated request is recognised by its content, and a verdict counts once.
    """
    wanted = Filters(**filters)
    if sum((bool(numbers), wanted.names_anything, everything)) != 1:
        raise click.UsageError("name dead letters by their numbers, or by filters such as --reason, or give --all")
    settings = load_settings()

    async def send(topic: DeadLetterTopic[StoredDeadLetter], span: Span, report: Report) -> list[Replayed]:
        letters = _numbered(topic, span, numbers) if numbers else select(topic, span, wanted, report)
        return await replay_all(letters, settings, dry_run=dry_run, report=report)

    _tell(_with_topic(send), dry_run=dry_run, as_json=as_json)


async def _numbered(
    topic: DeadLetterTopic[StoredDeadLetter], span: Span, numbers: tuple[int, ...]
) -> AsyncIterator[KeptLetter[StoredDeadLetter]]:
    # All are looked up before the first is sent: a wrong number sends nothing.
    for kept in [await one(topic, span, number) for number in dict.fromkeys(numbers)]:
        yield kept


def _tell(outcomes: list[Replayed], *, dry_run: bool, as_json: bool) -> None:
    kept_back = [outcome for outcome in outcomes if outcome.why_not is not None]
    sent = len(outcomes) - len(kept_back)
    if as_json:
        echo_json(
            {"dry_run": dry_run, "sent": 0 if dry_run else sent, "dead_letters": [each._asdict() for each in outcomes]}
        )
    for outcome in kept_back:
        warn(plain(f"dead letter {outcome.number} is not sent: {outcome.why_not}").plain)
    if not as_json:
        console.print(f"{sent} of {len(outcomes)} dead letters {'would be' if dry_run else 'were'} sent again.")
    if kept_back:
        end_with_error(f"{len(kept_back)} of {len(outcomes)} dead letters cannot be sent again")


@dlq.command(epilog="Example:  cj-stream dlq drop --before 7d    or:  cj-stream dlq drop --through 17 --yes")
@click.option("--through", type=click.IntRange(min=0), help="This dead letter and all before it.")
@click.option("--before", type=Moment(), help="All refused before then: 2026-03-04T09:12 (UTC), or 30m, 2h, 7d ago.")
@click.option("--all", "everything", is_flag=True, help="All that are there now.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def drop(*, through: int | None, before: datetime | None, everything: bool, yes: bool, as_json: bool) -> None:
    """Delete dead letters for good, from the oldest up to a point.

    Kafka deletes a topic's records from its beginning only: a single one cannot be deleted from between others, and
    need not be, for it does nothing where it lies. By themselves they go after 30 days.
    """
    if sum((through is not None, before is not None, everything)) != 1:
        raise click.UsageError("say up to where: --through NUMBER, --before TIME or --all")

    async def find(topic: DeadLetterTopic[StoredDeadLetter], span: Span, _report: Report) -> Span:
        if before is not None:
            return Span(span.first, await topic.since(before))
        return Span(span.first, span.end if through is None else (await one(topic, span, through)).number + 1)

    doomed = _with_topic(find)
    count = doomed.end - doomed.first
    if count and not yes:
        last = doomed.end - 1
        click.confirm(f"Delete {count} dead letters, {doomed.first} to {last}, for good?", abort=True, err=True)
    if count:
        _with_topic(lambda topic, _span, _report: topic.drop(doomed.end))
    if as_json:
        echo_json({"dropped": count, "first": doomed.first, "end": doomed.end})
    else:
        console.print(f"{count} dead letters deleted." if count else "No dead letters to delete.")


def _with_topic(work: Callable[[DeadLetterTopic[StoredDeadLetter], Span, Report], Awaitable[Result]]) -> Result:
    """Return what ``work`` returns; it is given the topic, what is there when it begins, and a way to tell of progress.

    What is written meanwhile is left alone: a dead letter that is sent again, and refused again, is not sent for ever.
    """
    settings: Settings = load_settings()

    async def run(report: Report) -> Result:
        async with AsyncExitStack() as stack:
            with telling_when_slow(f"Kafka at {settings.kafka_bootstrap}"):
                opening = open_dead_letters(settings.kafka, settings.dead_letters_topic, read_dead_letter)
                topic = await stack.enter_async_context(opening)
                span = await topic.span()
            return await work(topic, span, report)

    with reporting_kafka(DeadLetterError), progress("reading the dead letters") as report:
        return asyncio.run(run(report))
