from __future__ import annotations

import logging

from cj_stream.operations.repeats import Repeats


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(template: str, *args: object, name: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, template, args, None)


def test_a_library_is_heard_once_in_a_while_and_says_how_often_it_was_not() -> None:
    clock = Clock()
    repeats = Repeats(["aiokafka"], 300, clock)
    assert repeats.filter(record("no connection to %s", 1))
    for clock.now in range(1, 300):
        assert not repeats.filter(record("no connection to %s", clock.now))
    clock.now = 300
    late = record("no connection to %s", 7)
    assert repeats.filter(late)
    assert late.getMessage() == "no connection to 7 (and 299 more like this since the last one)"


def test_what_was_not_said_yet_is_heard_at_once() -> None:
    repeats = Repeats(["aiokafka"], 300, Clock())
    assert repeats.filter(record("no connection to %s", 1))
    assert repeats.filter(record("the group has dropped us"))
    assert repeats.filter(record("no connection to %s", 1, name="aiokafka.cluster"))


def test_our_own_lines_are_never_left_out() -> None:
    repeats = Repeats(["aiokafka"], 300, Clock())
    assert all(repeats.filter(record("batch moved", name="cj_stream.agents.batches")) for _ in range(5))
