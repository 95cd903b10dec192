"""What becomes of refused input besides its dead letter: it is counted, and a flood of it ends the worker."""

from __future__ import annotations

from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.engine.dead_letters import Refusal, Watch
from cj_stream.engine.runs import Record
from cj_stream.operations.metrics import Metrics


class InputWatch(Watch):
    """Told what becomes of the input of one worker."""

    def __init__(self, metrics: Metrics, share: InvalidShare) -> None:
        self._metrics = metrics
        self._share = share

    def accepted(self, topic: str) -> None:
        """Count a valid input of ``topic``."""
        self._share.accepted(topic)

    def refused(self, record: Record, refusal: Refusal) -> None:
        """Count a refused input; ends the process when there are too many: the record stays unread."""
        self._share.refused(record, refusal)

    def written(self, refusal: Refusal) -> None:
        """Count a dead letter."""
        self._metrics.dead_letters.labels(refusal.reason).inc()

    def lost(self) -> None:
        """Count a dead letter that its topic never takes."""
        self._metrics.unpublished.labels("dead_letter").inc()
