"""Is the comparison graph in one piece? Only then do the data alone put all items on one scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Comparisons, Integers

# Beyond this many sweeps a thorough search is faster.
_MAX_SWEEPS = 20


class Pieces(NamedTuple):
    """A graph taken apart: the piece 0, 1, .. that each item (n,) belongs to, and how many pieces there are."""

    labels: Integers
    total: int


def components(data: Comparisons) -> Pieces:
    """Find the connected components: items linked by comparisons, whoever won."""
    return _strong_pieces(data.n, np.append(data.first, data.second), np.append(data.second, data.first))


def strong_components(data: Comparisons, joined: Integers | None = None) -> Pieces:
    """Find the strongly connected components of the graph "has beaten"; a tie counts both ways.

    A finite maximum likelihood estimate exists if and only if there is exactly one (Ford 1957). They are numbered from
    the bottom up: an item was never beaten by one of a lower number.

    Args:
        data: the comparisons.
        joined: items to take for one and the same, because their scores are held.

    """
    winners = np.concatenate((data.first[data.first_wins > 0], data.second[data.first_wins < 1]))
    losers = np.concatenate((data.second[data.first_wins > 0], data.first[data.first_wins < 1]))
    if joined is not None:
        winners = np.concatenate((winners, joined))
        losers = np.concatenate((losers, np.roll(joined, 1)))
    return _strong_pieces(data.n, winners, losers)


def _strong_pieces(n: int, tails: Integers, heads: Integers) -> Pieces:
    if _all_reached(n, tails, heads) and _all_reached(n, heads, tails):
        return Pieces(np.zeros(n, dtype=np.int64), 1)
    following: list[list[int]] = [[] for _ in range(n)]
    for tail, head in zip(tails.tolist(), heads.tolist(), strict=True):
        following[tail].append(head)
    return _tarjan(following)


def _all_reached(n: int, tails: Integers, heads: Integers) -> bool:
    """Whether every item is reached from item 0, in a few sweeps over all edges. May say no to a very long way."""
    reached = np.zeros(n, dtype=np.bool_)
    reached[0] = True
    for _ in range(_MAX_SWEEPS):
        before = np.count_nonzero(reached)
        reached[heads[reached[tails]]] = True
        if np.count_nonzero(reached) == before:
            break
    return bool(reached.all())


def _tarjan(following: list[list[int]]) -> Pieces:
    """Tarjan (1972), with a stack of its own: 2,000 items in a chain exceed Python's recursion limit."""
    n = len(following)
    found, low, labels = [-1] * n, [0] * n, [-1] * n
    rest = [iter(others) for others in following]
    waiting: list[int] = []
    clock = count = 0
    for root in range(n):
        path = [root] if found[root] < 0 else []
        while path:
            item = path[-1]
            if found[item] < 0:
                found[item] = low[item] = clock
                clock += 1
                waiting.append(item)
            for other in rest[item]:
                if found[other] < 0:
                    path.append(other)
                    break
                if labels[other] < 0 and low[other] < low[item]:
                    low[item] = low[other]
            else:
                path.pop()
                if path and low[item] < low[path[-1]]:
                    low[path[-1]] = low[item]
                if low[item] == found[item]:
                    while labels[item] < 0:
                        labels[waiting.pop()] = count
                    count += 1
    return Pieces(np.array(labels, dtype=np.int64), count)
