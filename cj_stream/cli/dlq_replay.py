"""Sending dead letters again to where they came from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from cj_stream.agents.replay import why_not_again
from cj_stream.operations.settings import Settings
from cj_stream.streaming.dead_letter_topic import KeptLetter

REPLAY_HEADER = "cj-replay-of"
"""Header of a record that was sent again: the number of its dead letter."""


class Replayed(NamedTuple):
    """What became of a dead letter: ``why_not`` is None when it was sent, or would be."""

    number: int
    topic: str | None
    why_not: str | None


async def replay_all(
    letters: AsyncIterator[KeptLetter], settings: Settings, *, dry_run: bool, report: Callable[[str], None]
) -> list[Replayed]:
    """Send again those ``letters`` that pass the validation now, key and value as they came; say what became of each.

    Each is acknowledged by the broker before the next is sent, so that they keep their order.
    """
    outcomes: list[Replayed] = []
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True, max_request_size=2**21
    )
    await producer.start()
    try:
        async for kept in letters:
            outcome = _judged(kept, settings)
            if outcome.why_not is None and not dry_run:
                await _send(producer, kept)
            outcomes.append(outcome)
            report(f"dead letter {kept.number}: {sum(each.why_not is None for each in outcomes)} sent so far")
    finally:
        await producer.stop()
    return outcomes


def _judged(kept: KeptLetter, settings: Settings) -> Replayed:
    if kept.letter is None:
        return Replayed(kept.number, None, f"it is no dead letter: {kept.why_not}")
    return Replayed(kept.number, kept.letter.topic, why_not_again(kept.letter, settings))


async def _send(producer: AIOKafkaProducer, kept: KeptLetter) -> None:
    if kept.letter is not None:
        headers = [(REPLAY_HEADER, str(kept.number).encode())]
        await producer.send_and_wait(kept.letter.topic, kept.letter.value, key=kept.letter.key, headers=headers)
