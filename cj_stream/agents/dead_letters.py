"""Where refused input goes: to the dead-letter topic, with its reason, before its offset moves on. Within limits.

A dead letter that the topic does not take is cut, further and further. One that it takes in no form is told in the log:
the input lies in its own topic still, and the offset moves on, since one record stops nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from cj_stream.agents.invalid_share import InvalidShare
from cj_stream.contracts.dead_letters import dead_letter, shortened
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.dead_letters import NOT_READ_REASON, Letter
from cj_stream.engine.publisher import Deliveries, Publisher, RecordRefusedError
from cj_stream.engine.record_batches import NOT_READ
from cj_stream.engine.runs import Record, Run
from cj_stream.engine.texts import moment
from cj_stream.operations.metrics import Metrics

log = structlog.get_logger(__name__)


class DeadLetters:
    """Writes dead letters. What is written is outstanding, so the commit of the bad input waits for it."""

    def __init__(
        self, publisher: Publisher, deliveries: Deliveries, topic: str, metrics: Metrics, share: InvalidShare
    ) -> None:
        self._publisher = publisher
        self._deliveries = deliveries
        self._topic = topic
        self._metrics = metrics
        self._share = share

    def accepted(self, topic: str) -> None:
        """Take note that an input of ``topic`` was valid."""
        self._share.accepted(topic)

    def read_by(self, handle: Callable[[Run], Awaitable[None]]) -> Callable[[Run], Awaitable[None]]:
        """Return ``handle`` so that it gets what was read, and the dead letters what stands for the rest."""

        async def handled(run: Run) -> None:
            read = []
            for record in run.records:
                refused = _not_read(record)
                if refused is None:
                    read.append(record)
                else:
                    await self.put(record, refused)
            await handle(run._replace(records=read))

        return handled

    async def put(self, record: Record, refused: Refused, value: bytes | None = None) -> None:
        """Write ``record`` as a dead letter; ``value`` when only a part of it was refused.

        Ends the process instead when too much of the recent input was refused: the record stays unread.
        """
        self._share.refused(record, refused)
        letter = dead_letter(
            key=record.key,
            value=record.value if value is None else value,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=moment(record.timestamp),
            refused=refused,
        )
        await self._deliveries.begin("a dead letter", self._write(letter))
        self._metrics.dead_letters.labels(refused.reason).inc()
        log.warning(
            "input refused",
            reason=refused.reason,
            detail=refused.detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )

    async def _write(self, letter: Letter) -> None:
        why = ""
        for smaller in shortened(letter):
            try:
                await self._publisher.deliver(
                    self._topic, key=smaller.key, value=smaller.value, headers=smaller.headers
                )
            except RecordRefusedError as refused:
                why = str(refused)
                log.warning("a dead letter is shortened", why=why)
            else:
                return
        self._metrics.unpublished.labels("dead_letter").inc()
        told = {name: content.decode(errors="replace") for name, content in letter.headers}
        log.error("a dead letter could not be kept: its input lies in its own topic still", why=why, **told)


def _not_read(record: Record) -> Refused | None:
    for name, content in record.headers:
        if name == NOT_READ:
            return Refused(NOT_READ_REASON, bytes(content).decode(errors="replace"))
    return None
