"""When an estimate does not exist, and which items are the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Anchors, Comparisons, Floats, Integers
from cj_stream.scoring.estimation.fit import Estimator
from cj_stream.scoring.estimation.graph import Pieces, components, strong_components

_NAMED = 6


class Reason(StrEnum):
    """What is wrong with a group of items, or with the order of presentation."""

    UNLINKED = "no comparison links {} with the other items"
    UNBEATEN = "{} never lost to any other item"
    WINLESS = "{} never won against any other item"
    UNCOMPARED = "{} took part in no comparison"
    UNREACHABLE = "no finite distance of {} to the other items gives the adjusted totals of wins"
    ORDER = "the effect of the order of presentation cannot be told from the scores, or is infinite"


class Obstacle(NamedTuple):
    """A reason, and the items it is about; none when it is about the order."""

    reason: Reason
    items: tuple[int, ...] = ()

    def text(self, names: Sequence[str]) -> str:
        """Say it, with the items' names."""
        return self.reason.format(listed([names[item] for item in self.items]))


class NoEstimateError(ValueError):
    """The data have no finite estimate of this kind.

    Attributes:
        estimator: the kind.
        obstacles: why, at least one.

    """

    def __init__(self, estimator: Estimator, obstacles: Sequence[Obstacle], n: int) -> None:
        self.estimator, self.obstacles = estimator, tuple(obstacles)
        super().__init__(self.text([f"item {item}" for item in range(n)]))

    def text(self, names: Sequence[str]) -> str:
        """Say why, with the items' names, and what to use instead."""
        reasons = "; ".join(obstacle.text(names) for obstacle in self.obstacles)
        return f"there is no finite estimate of the kind {self.estimator}: {reasons}. {self._way_out()}"

    def _way_out(self) -> str:
        reasons = {obstacle.reason for obstacle in self.obstacles}
        if Reason.ORDER in reasons:
            return f"Do without the position term, or use the estimator {Estimator.MAP}"
        others = f", {Estimator.FIRTH} or {Estimator.NMM}" if reasons <= {Reason.UNBEATEN, Reason.WINLESS} else ""
        others = f" or {Estimator.FIRTH}" if reasons == {Reason.UNREACHABLE} else others
        return f"Use the estimator {Estimator.MAP}{others}, or judge more comparisons with these items"


def listed(names: Sequence[str]) -> str:
    """Return names in quotes, the first few of them."""
    quoted = [repr(name) for name in names[:_NAMED]]
    more = len(names) - len(quoted)
    return ", ".join(quoted) + (f" and {more} more" if more else "")


def unlinked(data: Comparisons, anchors: Anchors | None = None) -> list[Obstacle]:
    """Return the groups that no comparison links with the rest, the largest one left out; anchors are linked."""
    pieces = components(data)
    if anchors is not None:
        held = np.unique(pieces.labels[anchors.items])
        pieces = Pieces(np.where(np.isin(pieces.labels, held), held[0], pieces.labels), pieces.total)
    groups = sorted(_groups(pieces), key=len, reverse=True)
    return [Obstacle(Reason.UNLINKED, group) for group in groups[1:]]


def unbounded(data: Comparisons, anchors: Anchors | None = None) -> list[Obstacle]:
    """Return why the maximum likelihood estimate of the scores is not finite; empty when it is (Ford 1957).

    Anchors count as one item: what is held cannot run away. Single items of which the same is true are one obstacle. Of
    the groups that only won or only lost, one of more than half of the items is left out when there is another: it is
    not the one to blame.
    """
    apart = unlinked(data, anchors)
    pieces = strong_components(data, None if anchors is None else anchors.items)
    if pieces.total == 1:
        return apart
    alone = {item for obstacle in apart for item in obstacle.items}
    extreme = [obstacle for obstacle in _extreme(data, pieces) if not alone.issuperset(obstacle.items)]
    smaller = [obstacle for obstacle in extreme if 2 * len(obstacle.items) <= data.n]
    return apart + (smaller or extreme)


def _extreme(data: Comparisons, pieces: Pieces) -> Iterator[Obstacle]:
    first, second = pieces.labels[data.first], pieces.labels[data.second]
    across = first != second
    won, lost = across & (data.first_wins > 0), across & (data.first_wins < 1)
    winners = {*first[won].tolist(), *second[lost].tolist()}
    losers = {*second[won].tolist(), *first[lost].tolist()}
    groups = _groups(pieces)
    for reason, labels in ((Reason.UNBEATEN, winners - losers), (Reason.WINLESS, losers - winners)):
        found = [groups[label] for label in sorted(labels)]
        single = tuple(sorted(group[0] for group in found if len(group) == 1))
        yield from (
            Obstacle(reason, group) for group in ([single] if single else []) + [g for g in found if len(g) > 1]
        )


def _groups(pieces: Pieces) -> list[tuple[int, ...]]:
    return [tuple(np.flatnonzero(pieces.labels == label).tolist()) for label in np.unique(pieces.labels)]


def uncompared(data: Comparisons) -> list[Obstacle]:
    """Return the items without any comparison, as one obstacle, or nothing."""
    items = tuple(np.flatnonzero(data.comparisons_per_item() == 0).tolist())
    return [Obstacle(Reason.UNCOMPARED, items)] if items else []


def unbounded_order(data: Comparisons, anchors: Anchors | None = None) -> list[Obstacle]:
    """Return whether the maximum likelihood estimate of the order effect is not finite, given finite scores without it.

    Along a circle of wins the scores cancel, and what is left is how many of the winners were presented first. The
    effect is finite if and only if there are circles with more first places than second places, and with fewer.
    """
    won, lost = data.first_wins > 0, data.first_wins < 1
    winners = np.concatenate((data.first[won], data.second[lost]))
    losers = np.concatenate((data.second[won], data.first[lost]))
    excess = np.concatenate((np.ones(int(won.sum())), -np.ones(int(lost.sum()))))
    if anchors is not None:
        winners = np.concatenate((winners, anchors.items))
        losers = np.concatenate((losers, np.roll(anchors.items, 1)))
        excess = np.append(excess, np.zeros(len(anchors.items)))
    both = _negative_circle(data.n, winners, losers, excess) and _negative_circle(data.n, winners, losers, -excess)
    return [] if both else [Obstacle(Reason.ORDER)]


def _negative_circle(n: int, tails: Integers, heads: Integers, lengths: Floats) -> bool:
    """Whether some circle has a negative length (Bellman 1958, Ford 1956): distances that never settle."""
    distance = np.zeros(n)
    for _ in range(n):
        before = distance.copy()
        np.minimum.at(distance, heads, before[tails] + lengths)
        if np.array_equal(before, distance):
            return False
    return True
