"""The part of ``cj-stream forget`` that is about dead letters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from aiokafka.errors import MessageSizeTooLargeError

from cj_stream.cli.shared.output import telling_when_slow
from cj_stream.dead_letters.letter import read_dead_letter
from cj_stream.dead_letters.naming import names_any
from cj_stream.dead_letters.sending import letter_producer
from cj_stream.engine.dead_letter_topic import DeadLetterError, open_dead_letters
from cj_stream.engine.topics import DAY_MS, dead_letter_topic
from cj_stream.operations.settings import Settings


async def letters_naming(settings: Settings, ids: Collection[str]) -> list[int]:
    """Return the numbers of the dead letters that name one of these ids. Raises `DeadLetterError`."""
    with telling_when_slow(f"Kafka at {settings.kafka_bootstrap}"):
        async with open_dead_letters(settings.kafka, settings.dead_letters_topic, read_dead_letter) as topic:
            first, end = await topic.span()
            return [kept.number async for kept in topic.read(first, end) if names_any(kept, ids)]


async def forget_letters(settings: Settings, numbers: Sequence[int]) -> int:
    """Delete these dead letters; return how many others were written again for it. Raises `DeadLetterError`."""
    days = dead_letter_topic(settings.dead_letters_topic).retention_ms / DAY_MS
    producer = letter_producer(settings.kafka)
    async with open_dead_letters(settings.kafka, settings.dead_letters_topic, read_dead_letter) as topic:
        await producer.start()
        try:
            # What would have been deleted by its age is not written again: it would never go.
            since = datetime.now(UTC) - timedelta(days=days)
            return await topic.without(frozenset(numbers), await topic.span(), producer, since)
        except MessageSizeTooLargeError as error:
            raise DeadLetterError(
                f"the dead letters are left as they are: {settings.dead_letters_topic} takes one of them no more "
                f"({error}); raise its max.message.bytes"
            ) from error
        finally:
            await producer.stop()
