from __future__ import annotations

from cj_stream.engine.standstill import Standstill


def test_what_stands_still_is_counted_from_one_look_to_the_next() -> None:
    progress = Standstill[str](10)
    for at in (100, 105, 110):
        progress.observe(at, {"still": 7, "moving": at})
    assert progress.seconds == {"still": 10, "moving": 0}


def test_what_is_not_there_any_more_begins_anew() -> None:
    progress = Standstill[str](10)
    progress.observe(100, {"a": 7})
    progress.observe(105, {})
    progress.observe(110, {"a": 7})
    assert progress.seconds == {"a": 0}


def test_time_without_a_look_does_not_count() -> None:
    progress = Standstill[str](10)
    progress.observe(100, {"a": 7})
    progress.observe(105, {"a": 7})
    progress.lose_sight()
    progress.observe(1000, {"a": 7})
    assert progress.seconds == {"a": 5}
    progress.observe(1005, {"a": 7})
    assert progress.seconds == {"a": 10}


def test_a_frozen_observer_counts_no_more_than_a_step() -> None:
    progress = Standstill[str](10)
    progress.observe(100, {"a": 7})
    progress.observe(5000, {"a": 7})
    assert progress.seconds == {"a": 10}
