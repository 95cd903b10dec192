from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from cj_stream.gateway.fairness import FairQueue, weight


def turns(queue: FairQueue[str], count: int, cost: float = 1.0) -> Counter[str]:
    return Counter(queue.pop(cost) for _ in range(count))


def filled(**batches: tuple[int, int]) -> FairQueue[str]:
    """Return a queue where so many of each batch wait, with this priority."""
    queue = FairQueue[str]()
    for name, (count, priority) in batches.items():
        for _ in range(count):
            queue.put(name, name, priority)
    return queue


def test_batches_take_turns_however_many_wait() -> None:
    queue = filled(large=(1000, 0), small=(20, 0))
    assert turns(queue, 40) == {"large": 20, "small": 20}


def test_a_higher_priority_gets_its_multiple_and_a_lower_one_is_not_starved() -> None:
    queue = filled(urgent=(2000, 4), normal=(2000, 0), idle=(2000, -4))
    found = turns(queue, 700)
    whole = sum(weight(priority) for priority in (4, 0, -4))
    for name, priority in (("urgent", 4), ("normal", 0), ("idle", -4)):
        assert found[name] == pytest.approx(700 * weight(priority) / whole, abs=2)
    assert all(found.values())


def test_what_a_call_costs_counts_and_not_how_many_there_are() -> None:
    queue = filled(long=(500, 0), short=(500, 0))
    spent = Counter[str]()
    while sum(spent.values()) < 600:
        name = queue.head()
        assert name is not None
        cost = 3.0 if name == "long" else 1.0
        queue.pop(cost)
        spent[name] += round(cost)
    assert abs(spent["long"] - spent["short"]) <= 3


def test_who_comes_later_or_comes_back_saves_nothing_up() -> None:
    queue = filled(old=(1000, 0))
    turns(queue, 300)
    for _ in range(100):
        queue.put("new", "new")
    assert turns(queue, 100)["old"] == pytest.approx(50, abs=1)


def test_who_leaves_for_a_moment_does_not_come_back_in_front() -> None:
    queue = filled(steady=(1000, 0))
    found = Counter[str]()
    for _ in range(200):
        # A batch that always has a single one waiting: it comes back as soon as that has its turn.
        if not queue.waiting().get("single"):
            queue.put("single", "single")
        found[queue.pop(1.0)] += 1
    assert found["single"] == pytest.approx(100, abs=2)


def test_within_a_batch_the_order_is_kept_and_nothing_is_lost() -> None:
    random, queue = Random(5), FairQueue[tuple[str, int]]()
    put, popped = Counter[str](), list[tuple[str, int]]()
    for _ in range(5000):
        if random.random() < 0.55 or not len(queue):
            name = random.choice("abc")
            queue.put(name, (name, put[name]), random.randint(-10, 10))
            put[name] += 1
        else:
            popped.append(queue.pop(random.random()))
    while len(queue):
        popped.append(queue.pop(random.random()))
    assert queue.head() is None
    for name in "abc":
        assert [number for found, number in popped if found == name] == list(range(put[name]))
