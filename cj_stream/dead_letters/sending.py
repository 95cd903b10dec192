"""Sending dead letters again to where they came from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from cj_stream.dead_letters.letter import WHOLE_VALUE_LIMIT, StoredDeadLetter
from cj_stream.dead_letters.replay import why_not_again
from cj_stream.engine.clients import Kafka
from cj_stream.engine.dead_letter_topic import KeptLetter
from cj_stream.operations.settings import Settings

_RECORD_RESERVE = 10_000
"""Bytes of a record beside its value."""
REPLAY_HEADER = "cj-replay-of"
"""Header of a record that was sent again: the number of its dead letter."""


class Replayed(NamedTuple):
    """What became of a dead letter: ``why_not`` is None when it was sent, or would be."""

    number: int
    topic: str | None
    why_not: str | None


async def replay_all(
    letters: AsyncIterator[KeptLetter[StoredDeadLetter]],
    settings: Settings,
    *,
    dry_run: bool,
    report: Callable[[str], None],
) -> list[Replayed]:
    """Send again those ``letters`` that pass the validation now, key and value as they came; say what became of each.

    Each is acknowledged by the broker before the next is sent, so that they keep their order.
    """
    outcomes: list[Replayed] = []
    producer = letter_producer(settings.kafka)
    await producer.start()
    try:
        async for kept in letters:
            outcome = _judged(kept, settings)
            if outcome.why_not is None and not dry_run:
                outcome = outcome._replace(why_not=await _send(producer, kept))
            outcomes.append(outcome)
            report(f"dead letter {kept.number}: {sum(each.why_not is None for each in outcomes)} sent so far")
    finally:
        await producer.stop()
    return outcomes


def letter_producer(kafka: Kafka) -> AIOKafkaProducer:
    """Return a producer, not started, that takes whatever a dead letter has."""
    return kafka.producer(
        enable_idempotence=True,
        # A topic's limit is for what is sent, and its sender may have compressed it too.
        compression_type="gzip",
        max_request_size=WHOLE_VALUE_LIMIT + _RECORD_RESERVE,
    )


def _judged(kept: KeptLetter[StoredDeadLetter], settings: Settings) -> Replayed:
    if kept.letter is None:
        return Replayed(kept.number, None, f"it is no dead letter: {kept.why_not}")
    return Replayed(kept.number, kept.letter.topic, why_not_again(kept.letter, settings))


async def _send(producer: AIOKafkaProducer, kept: KeptLetter[StoredDeadLetter]) -> str | None:
    """Send a dead letter; return why it could not be."""
    if kept.letter is not None:
        headers = [(REPLAY_HEADER, str(kept.number).encode())]
        try:
            await producer.send_and_wait(kept.letter.topic, kept.letter.value, key=kept.letter.key, headers=headers)
        except MessageSizeTooLargeError:
            return f"topic {kept.letter.topic} takes no record as large: raise its max.message.bytes"
    return None
