from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from cj_stream.engine.overrides.table import Table


@pytest.mark.parametrize(("partition", "noted"), [(1, [(TP("changelog", 1), 7)]), (2, [])])
def test_an_acknowledgement_is_noted_only_for_a_partition_that_is_still_ours(
    partition: int, noted: list[tuple[TP, int]]
) -> None:
    """Or a row of ours that comes late could hide what the next owner wrote from our next recovery."""
    told: list[tuple[TP, int]] = []
    store = SimpleNamespace(_dbs={1: "open"}, set_persisted_offset=lambda tp, offset: told.append((tp, offset)))
    table: Any = SimpleNamespace(data=store)
    Table._persisted(table, SimpleNamespace(topic="changelog", partition=partition, offset=7))
    assert told == noted
