"""The limit on bad input: what share of the recent input of a topic may be invalid before the worker stops.

One bad message is its sender's mistake and becomes a dead letter. When most of what arrives is bad, somebody has
deployed a mistake, perhaps we: then the worker ends, and the input stays where it is, unread, until somebody looks.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from cj_stream.engine.dead_letters import Refusal
from cj_stream.engine.process import end_for_bad_input
from cj_stream.engine.runs import Record
from cj_stream.operations.settings import Settings


class _Invalid(NamedTuple):
    partition: int
    offset: int
    reason: str


@dataclass
class _Recent:
    """The last inputs of one topic, ``None`` for a valid one, and how many of them were invalid."""

    inputs: deque[_Invalid | None] = field(default_factory=deque)
    invalid: int = 0


class InvalidShare:
    """Watches the last inputs of each topic that this worker reads, and ends the process when too many are invalid."""

    def __init__(self, settings: Settings) -> None:
        self._window = settings.invalid_input_window
        self._share = settings.invalid_input_share
        self._minimum = settings.invalid_input_minimum
        self._topics: dict[str, _Recent] = defaultdict(_Recent)

    def accepted(self, topic: str) -> None:
        """Count a valid input of ``topic``; what is well formed and meant for somebody else is valid too."""
        recent = self._topics[topic]
        # Where all of so many were valid, one more that is changes nothing.
        if recent.invalid or len(recent.inputs) < self._window:
            self._add(topic, None)

    def refused(self, record: Record, refused: Refusal) -> None:
        """Count an invalid input; ends the process, with an explanation, when it is one too many."""
        recent = self._add(record.topic, _Invalid(record.partition, record.offset, refused.reason))
        if recent.invalid >= self._minimum and recent.invalid > self._share * len(recent.inputs):
            end_for_bad_input(
                "too much of the recent input is invalid",
                topic=record.topic,
                **_facts(recent),
                last_detail=refused.detail,
                stopped_at=f"partition {record.partition}, offset {record.offset}: it and all after it stay unread",
                what_to_do=_what_to_do(record.topic, self._share),
            )

    def recall(self, topic: str, partition: int, offset: int, reason: str | None) -> None:
        """Count an input that an earlier process has read, ``reason`` being why it was refused, if it was."""
        self._add(topic, None if reason is None else _Invalid(partition, offset, reason))

    def _add(self, topic: str, entry: _Invalid | None) -> _Recent:
        recent = self._topics[topic]
        recent.inputs.append(entry)
        recent.invalid += entry is not None
        if len(recent.inputs) > self._window:
            recent.invalid -= recent.inputs.popleft() is not None
        return recent


def _facts(recent: _Recent) -> dict[str, object]:
    invalid = [entry for entry in recent.inputs if entry is not None]
    reasons = Counter(entry.reason for entry in invalid).most_common(5)
    return {
        "invalid": f"{len(invalid)} of the last {len(recent.inputs)} ({len(invalid) / len(recent.inputs):.0%})",
        "reasons": ", ".join(f"{count} x {reason}" for reason, count in reasons),
        "offsets": ", ".join(
            f"partition {partition}: {(offsets := [entry.offset for entry in entries])[0]}..{offsets[-1]}"
            for partition, entries in groupby(sorted(invalid), key=lambda entry: entry.partition)
        ),
    }


def _what_to_do(topic: str, share: float) -> str:
    return (
        f"look at what was refused (cj-stream dlq list --topic {topic}), mend whoever writes it, and start again. "
        f"Bad input that lies there already stops a worker again: start with CJ_INVALID_INPUT_SHARE=1 instead of "
        f"{share:g} to have all of it sent to the dead letters, or move the group's offset past it"
    )
