from __future__ import annotations

from cj_stream.engine.wheel import Wheel

A, B, C = ("a", 1), ("b", 1), ("b", 2)


def test_what_falls_due_in_a_window_is_found_when_the_window_has_ended() -> None:
    wheel = Wheel(10)
    wheel.put(A, 101)
    wheel.put(B, 109.9)
    assert wheel.closed(109.9) == []
    assert wheel.closed(110) == [(A, 101), (B, 109.9)]


def test_a_deadline_on_the_border_belongs_to_the_window_that_begins_there() -> None:
    wheel = Wheel(10)
    wheel.put(A, 110)
    assert wheel.closed(110) == []
    assert wheel.closed(119.99) == []
    assert wheel.closed(120) == [(A, 110)]


def test_the_earliest_comes_first_over_all_closed_windows() -> None:
    wheel = Wheel(10)
    wheel.put(C, 119)
    wheel.put(A, 103)
    wheel.put(B, 95)
    assert wheel.closed(130) == [(B, 95), (A, 103), (C, 119)]


def test_a_moved_deadline_replaces_the_old_one() -> None:
    wheel = Wheel(10)
    wheel.put(A, 101)
    wheel.put(A, 135)
    assert wheel.closed(130) == []
    assert wheel.closed(140) == [(A, 135)]
    wheel.put(A, 102)
    assert wheel.closed(110) == [(A, 102)]
    assert len(wheel) == 1


def test_what_is_due_stays_on_the_wheel_until_it_is_removed_or_moved() -> None:
    wheel = Wheel(10)
    wheel.put(A, 101)
    assert wheel.closed(110) == wheel.closed(200) == [(A, 101)]
    wheel.remove(A)
    assert wheel.closed(200) == []
    assert (len(wheel), wheel.keys()) == (0, [])


def test_removing_what_is_not_there_does_nothing() -> None:
    wheel = Wheel(10)
    wheel.put(A, 101)
    wheel.remove(B)
    assert wheel.keys() == [A]


def test_removing_one_leaves_the_others_of_its_window() -> None:
    wheel = Wheel(0.5)
    wheel.put(A, 101.1)
    wheel.put(B, 101.2)
    wheel.remove(A)
    assert wheel.closed(101.5) == [(B, 101.2)]
