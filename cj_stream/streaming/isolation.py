"""What has been committed is read, and nothing else: records of a transaction are there once it is committed.

Hazard in Faust 0.15.3: its consumer reads what is not committed (``transport/drivers/aiokafka.py`` 569), so a verdict
that a provider wrote in a transaction and then took back would count.

Whoever reads committed records gets nothing behind an open transaction, not even what others have committed there. So a
partition has two ends: up to the *stable* one everything can be read, up to the *written* one it can be once the
transactions are over. A broker ends a transaction after ``transaction.max.timeout.ms``, 15 minutes unless configured.

Tests: ``test_lag.py``, ``test_sight.py``; ``tests/kafka/test_transactions.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.structs import TopicPartition

READ_COMMITTED = "read_committed"
"""How every consumer reads."""


async def written_ends(consumer: Any, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the written ends; ``consumer`` is aiokafka's, and its own ``end_offsets`` are the stable ones."""
    fetcher = copy.copy(consumer._fetcher)  # noqa: SLF001 (aiokafka asks with one isolation level only)
    fetcher._isolation_level = READ_UNCOMMITTED  # noqa: SLF001 (as above)
    ends: dict[TopicPartition, int] = await fetcher.end_offsets(partitions, consumer._request_timeout_ms)  # noqa: SLF001
    return ends
