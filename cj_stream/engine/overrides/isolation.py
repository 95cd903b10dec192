"""What has been committed is read, and nothing else: records of a transaction are there once it is committed.

Hazard in Faust 0.15.3: its consumer reads what is not committed (``transport/drivers/aiokafka.py`` 569), so an answer
that somebody wrote in a transaction and then took back would count.

Whoever reads committed records gets nothing behind an open transaction, not even what others have committed there. So a
partition has two ends: up to the *stable* one everything can be read, up to the *written* one it can be once the
transactions are over. A broker ends a transaction after ``transaction.max.timeout.ms``, 15 minutes unless configured.

Tests: ``test_lag.py``, ``test_sight.py``; ``tests/kafka/test_transactions.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.structs import TopicPartition

from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.standstill import Standstill

TOLD_AFTER_SECONDS = 30.0
LONGEST_STEP_SECONDS = 15.0


async def written_ends(consumer: Any, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the written ends; ``consumer`` is aiokafka's, and its own ``end_offsets`` are the stable ones."""
    fetcher = copy.copy(consumer._fetcher)  # noqa: SLF001 (aiokafka asks with one isolation level only)
    fetcher._isolation_level = READ_UNCOMMITTED  # noqa: SLF001 (as above)
    ends: dict[TopicPartition, int] = await fetcher.end_offsets(partitions, consumer._request_timeout_ms)  # noqa: SLF001
    return ends


class OpenTransactions:
    """Tells of transactions that hide for long what lies behind them."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._open = Standstill[TopicPartition](LONGEST_STEP_SECONDS)
        self._told: set[TopicPartition] = set()

    def observe(self, at: float, stable: Mapping[TopicPartition, int], written: Mapping[TopicPartition, int]) -> None:
        """Take over the ends of all partitions ``at`` (seconds, of any clock)."""
        self._open.observe(at, {tp: end for tp, end in stable.items() if end < written[tp]})
        long = {tp for tp, seconds in self._open.seconds.items() if seconds > TOLD_AFTER_SECONDS}
        for tp in self._told - long:
            self._conditions.end(ConditionKind.OPEN_TRANSACTION, _name(tp))
        for tp in long:
            self._conditions.begin(
                ConditionKind.OPEN_TRANSACTION,
                _name(tp),
                f"a transaction has been open for long and hides offsets {stable[tp]} to {written[tp]}, not included: "
                "whoever writes there has to end it, or the broker does after its transaction.max.timeout.ms; "
                "kafka-transactions.sh finds and ends one that hangs",
                "what lies there is not read yet, and timeouts that it might contradict wait; all else goes on",
            )
        self._told = long


def _name(tp: TopicPartition) -> str:
    return f"{tp.topic}-{tp.partition}"
