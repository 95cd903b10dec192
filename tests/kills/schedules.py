"""Schedules: the short one of the tests, the one without a kill, and random ones."""

from __future__ import annotations

from random import Random

from kills.faults import Fault, Freeze, KeptThenEmpty, Kill, KillInRebalance, Outage, Scale, Stop
from kills.play import WORKERS, Waves
from kills.points import (
    AT_A_BEGINNING,
    AT_A_START,
    AT_A_STOP,
    AT_BAD_INPUT,
    IN_A_REBALANCE,
    IN_TRAFFIC,
    NOW_AND_THEN,
)

SHORT: Waves = (
    (Kill(1, "rows held"), Kill(2, "submitted", 2), Kill(3, "in hand", 2)),
    (Freeze(1), Kill(2, "torn", 3), Kill(3, "in a run")),
    (KillInRebalance(3, 3, "recovering"), Kill(1, "reported", 2), Kill(2, "inputs held")),
    (Outage(8),),
    (Kill(1, "flushed", 2),),
    (KeptThenEmpty(2, "put", 2),),
)
"""Each kind of fault once."""

UNHARMED: Waves = ((Scale(3),), (Scale(1),))
"""From one worker to three and back: nobody is killed, so every attempt is submitted exactly once."""

LONG_OUTAGE_SECONDS = 60.0
MOST_PASSAGES = 6
AFTER_A_RESTART = sorted(AT_A_START.keys() | IN_A_REBALANCE.keys() - {"revoked", "given up"})
WHILE_WRITING = ("put", "torn", "unacknowledged", "rows held", "flushed", "applied")


def random_schedule(seed: int) -> Waves:
    """Return six to nine waves or more, with a broker that is away for a minute in every fourth schedule."""
    random = Random(seed)
    makers = [_kills, _kills, _kills, _in_a_rebalance, _in_a_rebalance, _stopped, _frozen, _scaled, _disk_lost, _outage]
    # First, while there are batches that nobody has asked for.
    waves = [_at_a_beginning(random)]
    for _ in range(random.randint(5, 7)):
        waves += random.choice(makers)(random)
    if seed % 4 == 0:
        waves.insert(random.randrange(len(waves)), (Outage(LONG_OUTAGE_SECONDS, random.choice(("stop", "kill"))),))
    return waves


def _workers(random: Random, count: int) -> list[int]:
    return random.sample(range(1, WORKERS + 1), count)


def _kill(random: Random, worker: int, *, taken_over: bool = False) -> Kill:
    point = random.choice([None, *IN_TRAFFIC, *NOW_AND_THEN, *AT_BAD_INPUT])
    passage = random.randint(1, MOST_PASSAGES) if point is None or point in IN_TRAFFIC else 1
    return Kill(worker, point, passage, random.random() < 0.7, taken_over)


def _at_a_beginning(random: Random) -> tuple[Fault, ...]:
    first, second, _ = _workers(random, 3)
    return Kill(first, random.choice(sorted(AT_A_BEGINNING))), _kill(random, second)


def _kills(random: Random) -> list[tuple[Fault, ...]]:
    workers = _workers(random, random.randint(1, WORKERS))
    taken_over = len(workers) == 1 and random.random() < 0.5
    return [tuple(_kill(random, worker, taken_over=taken_over) for worker in workers)]


def _in_a_rebalance(random: Random) -> list[tuple[Fault, ...]]:
    first, second, third = _workers(random, 3)
    if random.random() < 0.5:
        restarted = KillInRebalance(first, first, random.choice(AFTER_A_RESTART), keeps_disk=random.random() < 0.5)
        return [(restarted, _kill(random, third))]
    return [(KillInRebalance(first, second, random.choice(sorted(IN_A_REBALANCE))),)]


def _frozen(random: Random) -> list[tuple[Fault, ...]]:
    first, second, _ = _workers(random, 3)
    return [(Freeze(first), random.choice((Stop(second), _kill(random, second))))]


def _stopped(random: Random) -> list[tuple[Fault, ...]]:
    first, second, _ = _workers(random, 3)
    return [(Stop(first, random.choice(sorted(AT_A_STOP))), _kill(random, second))]


def _scaled(random: Random) -> list[tuple[Fault, ...]]:
    return [(Scale(random.randint(1, 2)),), (Scale(WORKERS),)]


def _disk_lost(random: Random) -> list[tuple[Fault, ...]]:
    return [(KeptThenEmpty(_workers(random, 1)[0], random.choice(WHILE_WRITING), random.randint(1, MOST_PASSAGES)),)]


def _outage(random: Random) -> list[tuple[Fault, ...]]:
    return [(Outage(random.uniform(1, 15), random.choice(("stop", "kill", "pause"))),)]
