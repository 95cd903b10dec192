"""Where refused input goes: to the dead-letter topic, with its reason, before its offset moves on."""

from __future__ import annotations

import structlog
from faust.types import Message

from cj_stream.contracts.dead_letters import dead_letter
from cj_stream.contracts.fields import moment
from cj_stream.contracts.refusal import Refused
from cj_stream.operations.metrics import Metrics
from cj_stream.streaming.sender import Sender

log = structlog.get_logger(__name__)


class DeadLetters:
    """Writes dead letters. What is written is outstanding, so the commit of the bad input waits for it."""

    def __init__(self, sender: Sender, topic: str, metrics: Metrics) -> None:
        self._sender = sender
        self._topic = topic
        self._metrics = metrics

    async def put(self, message: Message, refused: Refused, value: bytes | None = None) -> None:
        """Write ``message`` as a dead letter; ``value`` when only a part of it was refused."""
        letter = dead_letter(
            key=message.key,
            value=message.value if value is None else value,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            timestamp=moment(message.timestamp),
            refused=refused,
        )
        await self._sender.send(self._topic, key=letter.key, value=letter.value, headers=letter.headers)
        self._metrics.dead_letters.labels(refused.reason).inc()
        log.warning(
            "input refused",
            reason=refused.reason,
            detail=refused.detail,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
        )
