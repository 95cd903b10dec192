from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cj_stream.engine.keeping import Keeping, keeping

NOW = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
HOUR_MS, DAY_MS = 3_600_000, 24 * 3_600_000
FOR_EVER = str(2**63 - 1)
CHECKS = timedelta(minutes=5)


def config(policy: str, **changes: object) -> dict[str, str]:
    usual = {
        "cleanup.policy": policy,
        "retention.ms": str(7 * DAY_MS),
        "segment.ms": str(HOUR_MS),
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": FOR_EVER,
    }
    return usual | {name.replace("_", "."): str(value) for name, value in changes.items()}


def found(policy: str, **changes: object) -> Keeping:
    return keeping(config(policy, **changes), NOW.timestamp())


def test_a_topic_that_is_cut_by_time_keeps_a_record_for_retention_and_a_segment() -> None:
    assert found("delete") == Keeping(None, NOW + timedelta(days=7, hours=1) + CHECKS)


def test_a_topic_without_retention_keeps_it_for_ever() -> None:
    assert found("delete", retention_ms=-1) == Keeping(None, None)
    assert "no latest time is set" in found("delete", retention_ms=-1).told


def test_a_compacted_topic_keeps_it_for_the_smallest_lag_and_as_long_as_kafka_likes() -> None:
    kept = found("compact", min_compaction_lag_ms=9 * DAY_MS)
    assert kept == Keeping(NOW + timedelta(days=9), None)
    assert kept.told == "not before 2026-03-13T09:00:00.000Z, no latest time is set"


def test_a_largest_lag_says_until_when() -> None:
    kept = found("compact", min_compaction_lag_ms=DAY_MS, max_compaction_lag_ms=2 * DAY_MS)
    assert kept == Keeping(NOW + timedelta(days=1), NOW + timedelta(days=2, hours=1) + CHECKS)


def test_what_is_compacted_and_cut_goes_with_the_first_of_both() -> None:
    kept = found("compact,delete", retention_ms=DAY_MS, max_compaction_lag_ms=2 * DAY_MS)
    assert kept.latest == NOW + timedelta(days=1, hours=1) + CHECKS
