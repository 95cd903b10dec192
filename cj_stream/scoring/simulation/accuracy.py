"""Studies by simulation: how well the scores of a batch would agree with the truth after so many comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Comparisons, Floats
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.pairing.matching import Pair
from cj_stream.scoring.pairing.pairing import plan_pairs
from cj_stream.scoring.simulation.judge_models import JudgeModel

_Z_95 = 1.959963984540054


class Scheme(StrEnum):
    """How pairs are chosen: the two policies of batches, and the simplest conceivable one to compare them with."""

    ADAPTIVE = "adaptive"
    RANDOM = "random"
    UNIFORM = "uniform"
    """Any pair with equal probability, so that some essays are compared often and others hardly ever."""


@dataclass(frozen=True)
class Design:
    """One way to judge one kind of batch.

    Attributes:
        essays: number of essays, at least 2.
        spread: standard deviation of their true qualities, logits.
        judge: who judges.
        scheme: how pairs are chosen.
        wave_size: pairs chosen at a time; None: half as many as essays, one comparison of each.
        random_rounds: comparisons per essay before pairs are chosen adaptively.

    """

    essays: int
    spread: float
    judge: JudgeModel
    scheme: Scheme
    wave_size: int | None = None
    random_rounds: int = 4


class Accuracy(NamedTuple):
    """How a fit agrees with the truth.

    ``rmse`` is in logits, both centred; ``squared_correlation`` is the true reliability, ``reliability`` the EAP
    reliability that the fit reports; ``coverage`` is the share of 95 % intervals that hold the truth; ``spread_ratio``
    the standard deviation of the scores over that of the truth.
    """

    spearman: float
    kendall: float
    rmse: float
    squared_correlation: float
    reliability: float
    coverage: float
    spread_ratio: float


class Expected(NamedTuple):
    """Means over replications, and their Monte Carlo errors: standard errors of the means, NaN for one replication."""

    mean: Accuracy
    error: Accuracy


def replicate(design: Design, comparisons_per_essay: Sequence[int], seed: int) -> list[Accuracy]:
    """Simulate one batch, and return how accurate it is at each of the numbers of comparisons per essay.

    The true qualities depend on the seed alone, so that designs can be compared on the same essays. Where the pairs
    are used up, the accuracy is that of the last ones.
    """
    n = design.essays
    theta = np.random.default_rng([seed, 0]).normal(0.0, design.spread, n)
    batch = _Batch(design, theta, n * max(comparisons_per_essay) // 2, seed)
    accuracies = []
    for target in comparisons_per_essay:
        batch.judge_up_to(n * target // 2)
        accuracies.append(accuracy(batch.fit(), theta))
    return accuracies


def expected_accuracies(
    design: Design, comparisons_per_essay: Sequence[int], seeds: Iterable[int], done: Callable[[], None] = lambda: None
) -> list[Expected]:
    """Return what to expect at each of the numbers of comparisons; ``done`` is called after each replication."""
    results = []
    for seed in seeds:
        results.append(replicate(design, comparisons_per_essay, seed))
        done()
    found = np.array(results)
    means, errors = found.mean(axis=0), np.full(found.shape[1:], np.nan)
    if len(found) > 1:
        errors = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    return [
        Expected(Accuracy(*mean), Accuracy(*error)) for mean, error in zip(means.tolist(), errors.tolist(), strict=True)
    ]


def accuracy(fit: Fit, theta: Floats) -> Accuracy:
    """Compare a fit with the true qualities (n,)."""
    truth = theta - theta.mean()
    within = np.abs(fit.theta - truth) <= _Z_95 * fit.standard_error
    correlation = _correlation(fit.theta, truth)
    return Accuracy(
        spearman=spearman(fit.theta, truth),
        kendall=_kendall(fit.theta, truth),
        rmse=float(np.sqrt(np.mean((fit.theta - truth) ** 2))),
        squared_correlation=correlation**2,
        reliability=fit.reliability,
        coverage=float(within.mean()),
        spread_ratio=float(fit.theta.std() / truth.std()),
    )


def spearman(a: Floats, b: Floats) -> float:
    """Return the correlation of the ranks of two lists of scores (n,)."""
    return _correlation(_ranks(a), _ranks(b))


class _Batch:
    """A batch in the course of its judging."""

    def __init__(self, design: Design, theta: Floats, planned: int, seed: int) -> None:
        self._design = design
        self._theta = theta
        self._planned = planned
        self._seed = seed
        self._rng = np.random.default_rng([seed, 1])
        self._pairs: list[Pair] = []
        self._first_wins = np.zeros(0)
        self._newest: Fit | None = None

    def fit(self) -> Fit:
        if self._newest is None:
            self._newest = self._fitted()
        return self._newest

    def _fitted(self) -> Fit:
        compared = np.array(self._pairs, dtype=np.int64).reshape(-1, 2)
        data = Comparisons(self._design.essays, compared[:, 0], compared[:, 1], self._first_wins)
        return map_estimate(data, position=True)

    def judge_up_to(self, count: int) -> None:
        while len(self._pairs) < count and (pairs := self._next(count - len(self._pairs))):
            at = (len(self._pairs) + np.arange(len(pairs))) / self._planned
            compared = np.array(pairs)
            difference = self._theta[compared[:, 0]] - self._theta[compared[:, 1]]
            verdicts = self._design.judge.first_wins(difference, at, self._rng)
            self._first_wins = np.concatenate((self._first_wins, verdicts))
            self._pairs += pairs
            self._newest = None

    def _next(self, wanted: int) -> list[Pair]:
        design, n = self._design, self._design.essays
        if design.scheme is Scheme.UNIFORM:
            return [self._any_pair() for _ in range(wanted)]
        adaptive = design.scheme is Scheme.ADAPTIVE and len(self._pairs) >= design.random_rounds * n // 2
        count = min(wanted, design.wave_size or max(n // 2, 1))
        seed = self._seed * 100_000 + len(self._pairs)
        return plan_pairs(n, count, self._pairs, self.fit() if adaptive else None, seed)

    def _any_pair(self) -> Pair:
        first, second = self._rng.choice(self._design.essays, 2, replace=False).tolist()
        return first, second


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _ranks(values: Floats) -> Floats:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)


def _kendall(a: Floats, b: Floats) -> float:
    n = len(a)
    agreement = np.sign(a[:, None] - a) * np.sign(b[:, None] - b)
    return float(agreement.sum() / (n * (n - 1)))
