"""What a worker remembers of its predecessors: how much of the recent input they refused.

Without it, a worker that is started again and again would send a whole topic of rubbish to the dead letters after all,
a little each time. What was refused lies there with its offset, and committed offsets say how far was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from aiokafka.errors import KafkaError

from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.dead_letters.letter import StoredDeadLetter, read_dead_letter
from cj_stream.engine.dead_letter_topic import DeadLetterError, open_dead_letters
from cj_stream.engine.provisioning import ProvisioningError
from cj_stream.operations.settings import Settings

log = structlog.get_logger(__name__)

HORIZON = timedelta(hours=1)
"""Older dead letters are history: a flood that was dealt with does not stop a worker at the next bad message."""

Committed = Mapping[tuple[str, int], int]
"""By topic and partition, the offset up to which input was read."""


class PastInput(NamedTuple):
    """An input that was read before; ``reason`` is why it was refused, None where it was not."""

    topic: str
    partition: int
    offset: int
    reason: str | None


async def recall(settings: Settings, share: InvalidShare) -> None:
    """Have ``share`` count the recent input of those topics of which some was refused within the last hour."""
    try:
        letters = await _recent_letters(settings)
        committed = await _committed(settings) if letters else {}
    except (DeadLetterError, ProvisioningError, KafkaError) as error:
        log.warning("what was refused before is not known", why=str(error))
        return
    for past in past_inputs(letters, committed, settings.invalid_input_window):
        share.recall(*past)


def past_inputs(letters: Sequence[StoredDeadLetter], committed: Committed, window: int) -> Iterator[PastInput]:
    """Yield the last ``window`` inputs of each partition whose topic has ``letters``, the oldest first.

    There is no time in common between partitions: they are taken to be read at the same pace.
    """
    reasons: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for letter in letters:
        reasons[letter.topic, letter.partition][letter.offset] = letter.reason
    topics = {topic for topic, _ in reasons}
    ends = {at: end for at, end in committed.items() if at[0] in topics}
    for before_end in range(window, 0, -1):
        for (topic, partition), end in ends.items():
            offset = end - before_end
            if offset >= 0:
                yield PastInput(topic, partition, offset, reasons[topic, partition].get(offset))


async def _recent_letters(settings: Settings) -> list[StoredDeadLetter]:
    async with open_dead_letters(settings.kafka, settings.dead_letters_topic, read_dead_letter) as topic:
        first, end = await topic.span()
        horizon = datetime.now(UTC) - HORIZON
        recent = await topic.since(horizon)
        start = max(first, recent, end - settings.invalid_input_window)
        # Without what they hold: a thousand values are more than a worker should have in memory.
        return [
            kept.letter.model_copy(update={"key": None, "value": None})
            async for kept in topic.read(start, end)
            # One that was written again since is no news.
            if kept.letter is not None and kept.refused_at >= horizon
        ]


async def _committed(settings: Settings) -> Committed:
    admin = settings.kafka.admin()
    try:
        await admin.start()
        offsets = await admin.list_consumer_group_offsets(settings.app_id)
    finally:
        await admin.close()
    return {(at.topic, at.partition): found.offset for at, found in offsets.items() if found.offset >= 0}
