"""The callbacks agent: reads the provider's answers and forwards each to the home partition of its batch."""

from __future__ import annotations

import time

from cj_stream.contracts.callback_reader import Callback, read_callback
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.draft import Note, NoteKind
from cj_stream.domain.events import CallbackReceived, Event
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.runs import Record, Run, in_portions
from cj_stream.operations.metrics import Metrics


class CallbacksAgent:
    """Handles one run of the callback topic at a time."""

    def __init__(
        self, partitions: int, forwarder: Forwarder[Event], dead_letters: DeadLetters, metrics: Metrics
    ) -> None:
        self._partitions = partitions
        self._forwarder = forwarder
        self._dead_letters = dead_letters
        self._metrics = metrics

    async def handle(self, run: Run) -> None:
        """Forward each answer; count it when it was never ours, for the topic may serve others too."""
        async for record in in_portions(run.records):
            await self._handle(record)

    async def _handle(self, record: Record) -> None:
        try:
            callback = read_callback(record.value)
        except Refused as refused:
            self._metrics.callback_errors.inc()
            await self._dead_letters.put(record, refused)
            return
        self._dead_letters.accepted(record.topic)
        if callback.published_at is not None:
            self._metrics.callback_latency.observe(max(time.time() - callback.published_at.timestamp(), 0.0))
        home = self._home(callback)
        if home is None:
            self._metrics.observe(None, [Note(NoteKind.CALLBACK_ORPHAN)])
        else:
            self._forwarder.forward(home, answered(callback))

    def _home(self, callback: Callback) -> int | None:
        found = read_correlation_id(callback.correlation_id) if callback.correlation_id else None
        if found is not None and found.partition < self._partitions:
            return found.partition
        return None if callback.batch_id is None else home_partition(callback.batch_id, self._partitions)


def answered(callback: Callback) -> CallbackReceived:
    """Return the callback as an event of the domain."""
    echo = (callback.essay_a_id, callback.essay_b_id)
    return CallbackReceived(
        batch_id=callback.batch_id or "",
        correlation_id=callback.correlation_id,
        essay_ids=(echo[0], echo[1]) if echo[0] is not None and echo[1] is not None else None,
        winner=callback.winner,
        confidence=callback.confidence,
        justification=callback.justification,
        provider=callback.provider,
        model=callback.model,
        error_code=callback.error_code,
        error_message=callback.error_message,
        receipt=callback.receipt,
    )
