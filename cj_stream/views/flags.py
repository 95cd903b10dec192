"""What judges noticed about essays: a text that speaks to the judge is told to whoever reads the ranking."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cj_stream.domain.batch import Batch

_SIDES = (("_in_first", 0), ("_in_second", 1))


def flagged_essays(batch: Batch) -> list[dict[str, Any]]:
    """Return the essays about which verdicts have flags: which flag, and in how many verdicts."""
    found: Counter[tuple[str, str]] = Counter()
    for row in batch.comparisons:
        if row.winner is None or row.receipt is None or not row.receipt.flags:
            continue
        pair = batch.essay_ids(row.index)
        for flag in row.receipt.flags:
            found.update((pair[side], flag.removesuffix(end)) for end, side in _SIDES if flag.endswith(end))
    return [
        {"essay_id": essay_id, "flag": flag, "verdicts": count} for (essay_id, flag), count in sorted(found.items())
    ]
