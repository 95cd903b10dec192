"""Which dead letters a command is about: by number, or by what they are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from cj_stream.cli.shared.output import end_with_error
from cj_stream.dead_letters.letter import StoredDeadLetter
from cj_stream.engine.dead_letter_topic import DeadLetterTopic, KeptLetter, Span

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_REPORT_EVERY = 1_000


class Moment(click.ParamType):
    """A time on the command line: ISO 8601, in UTC where no zone is given, or so long ago: 90s, 30m, 2h, 7d."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment in UTC."""
        if isinstance(value, datetime):
            return value
        ago = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        try:
            if ago:
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            moment = datetime.fromisoformat(str(value))
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: write 2026-03-04T09:12 (UTC) or how long ago, as in 30m, 2h, 7d", param, ctx
            )


@dataclass(frozen=True)
class Filters:
    """What is asked for; None asks for anything."""

    reason: str | None = None
    topic: str | None = None
    batch_id: str | None = None
    since: datetime | None = None

    @property
    def names_anything(self) -> bool:
        """Whether any filter is set."""
        return any(value is not None for value in (self.reason, self.topic, self.batch_id, self.since))

    def takes(self, kept: KeptLetter[StoredDeadLetter]) -> bool:
        """Whether a dead letter is asked for."""
        letter = kept.letter
        if letter is None:
            return self.reason is self.topic is self.batch_id is None
        wanted = ((self.reason, letter.reason), (self.topic, letter.topic), (self.batch_id, letter.batch_id))
        return all(asked is None or asked == found for asked, found in wanted)


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `Filters` to a command, which receives them by their names."""
    for option in (
        click.option("--since", type=Moment(), help="Refused since then: 2026-03-04T09:12 (UTC), or 30m, 2h, 7d ago."),
        click.option("--batch", "batch_id", help="About this batch, where that could be read."),
        click.option("--topic", help="Came from this topic."),
        click.option("--reason", help="Refused for this reason, as in not_json."),
    ):
        command = option(command)
    return command


async def select(
    topic: DeadLetterTopic[StoredDeadLetter], span: Span, filters: Filters, report: Callable[[str], None]
) -> AsyncIterator[KeptLetter[StoredDeadLetter]]:
    """Yield those in ``span`` that are asked for, in order; tells ``report`` how far it is."""
    first = span.first if filters.since is None else max(span.first, await topic.since(filters.since))
    async for kept in topic.read(first, span.end):
        if kept.number % _REPORT_EVERY == 0:
            report(f"reading dead letter {kept.number} of {span.first} to {span.end - 1}")
        if filters.takes(kept):
            yield kept


async def one(topic: DeadLetterTopic[StoredDeadLetter], span: Span, number: int) -> KeptLetter[StoredDeadLetter]:
    """Return the dead letter with this number; ends the command when there is none."""
    is_kept = span.first <= number < span.end
    found = [kept async for kept in topic.read(number, number + 1)] if is_kept else []
    if not found:
        there = f"there are {span.first} to {span.end - 1}" if span.first < span.end else "there are none"
        end_with_error(f"no dead letter {number}: {there}")
    return found[0]
