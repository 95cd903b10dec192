"""What adaptive pairing is worth, whether what it reports can be trusted, and how long choosing pairs takes.

Simulated batches. Accuracy: mean Spearman correlation with the truth, over the same essays for every scheme; adaptive
pairs in waves of one comparison per essay. What they save is read from the curves of these means: the comparisons per
essay, interpolated, at which adaptive pairs are as accurate as the other scheme at the last number. Standard errors
of the saving are from 200 resamplings of the replications. Coverage: the share of 95 % intervals that hold the truth.
Coin flips: the reliability reported for them, which have none, with both kinds of pairs. Reliability: how far the
reported one is from the true one, the squared correlation with the truth, on average. Stopping: the verdicts per essay
at which a batch reaches its reliability target; they should not depend on how many pairs are planned at a time.
Selection: milliseconds to choose pairs from a fit. Loop: the longest that an event loop, asked to wake every
millisecond, did not run while a worker computed; the last column is the same while nothing is computed.
"""

from __future__ import annotations

import asyncio
import time
from itertools import product

import numpy as np
from kit import BenchmarkError, parser, print_table, seconds_of, spread

from cj_stream.domain import computations
from cj_stream.domain.batch import Batch
from cj_stream.domain.computations import FitTask, PairsTask, choose_pairs, compute_scores
from cj_stream.domain.decider import decide
from cj_stream.domain.events import BatchRequested, ContentLoaded, Event, VerdictReceived
from cj_stream.domain.policy import Judging, Policy
from cj_stream.domain.records import Context, Essay
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Score, Submit, todo
from cj_stream.effects.computing import Computing
from cj_stream.scoring.estimation.data import Comparisons, Floats, Integers
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.pairing.matching import Pair
from cj_stream.scoring.pairing.pairing import plan_pairs
from cj_stream.scoring.quality.stopping import StopRule
from cj_stream.scoring.simulation.accuracy import Accuracy, Design, Scheme, replicate, spearman
from cj_stream.scoring.simulation.judge_models import JudgeKind, JudgeModel

COMPARISONS = (6, 8, 10, 12, 14, 16, 18, 20)
SPREADS = (1.0, 2.0, 3.0)
RELIABILITY_AT = (5, 10, 20)
RELIABILITY_ESSAYS = (30, 50)
SEED = 20
RESAMPLINGS = 200


def studied(design: Design, replications: int, comparisons: tuple[int, ...] = COMPARISONS) -> Floats:
    """(replications, numbers of comparisons, figures) of the accuracy of one design."""
    return np.array([replicate(design, comparisons, SEED + number) for number in range(replications)])


def needed(curve: Floats, target: float) -> float:
    """Return the comparisons per essay at which a rising curve reaches ``target``; the last number if it does not."""
    return float(np.interp(target, np.maximum.accumulate(curve), COMPARISONS))


def saving(adaptive: Floats, other: Floats) -> str:
    """How many comparisons less, percent, adaptive pairs need for the last accuracy of the other scheme."""
    rng = np.random.default_rng(SEED)
    rho = Accuracy._fields.index("spearman")

    def once(chosen: Integers) -> float:
        target = other[chosen, -1, rho].mean()
        return 100.0 * (1.0 - needed(adaptive[chosen, :, rho].mean(axis=0), target) / COMPARISONS[-1])

    everything = np.arange(len(adaptive))
    resampled = [once(rng.choice(everything, len(everything))) for _ in range(RESAMPLINGS)]
    return f"{once(everything):.0f} (SE {np.std(resampled):.1f})"


def accuracy_rows(replications: int, essays: int) -> list[list[str]]:
    """Return the rows of the table of accuracy."""
    rows = []
    for sd in SPREADS:
        figures = {s: studied(Design(essays, sd, JudgeModel(), s), replications) for s in Scheme}
        for scheme, values in figures.items():
            means = dict(zip(Accuracy._fields, values.mean(axis=0).T, strict=True))
            at = [COMPARISONS.index(number) for number in (10, 14, 20)]
            saved = "" if scheme is Scheme.ADAPTIVE else saving(figures[Scheme.ADAPTIVE], values)
            rows.append(
                [f"{sd:g}", scheme.value, *(f"{means['spearman'][i]:.3f}" for i in at), saved]
                + [f"{means[name][-1]:.3f}" for name in ("coverage", "reliability", "squared_correlation")]
            )
    return rows


def coin_rows(replications: int) -> list[list[str]]:
    """Return the rows of the table of reliabilities reported for coin flips."""
    rows = []
    for essays, scheme in product(RELIABILITY_ESSAYS, (Scheme.ADAPTIVE, Scheme.RANDOM)):
        design = Design(essays, 1.0, JudgeModel(JudgeKind.COIN), scheme)
        reported = studied(design, replications, RELIABILITY_AT)[:, :, Accuracy._fields.index("reliability")]
        cells = [
            f"{at.mean():.2f}, {np.quantile(at, 0.95):.2f}, {at.max():.2f}, {100.0 * (at > 0.5).mean():.0f} %"
            for at in reported.T
        ]
        rows.append([str(essays), scheme.value, *cells])
    return rows


def error_rows(replications: int) -> list[list[str]]:
    """Return the rows of the table of how far the reported reliability is from the true one."""
    rows = []
    for essays, scheme, sd in product(RELIABILITY_ESSAYS, (Scheme.ADAPTIVE, Scheme.RANDOM), SPREADS):
        figures = studied(Design(essays, sd, JudgeModel(), scheme), replications, RELIABILITY_AT)
        means = dict(zip(Accuracy._fields, figures.mean(axis=0).T, strict=True))
        true, reported = means["squared_correlation"], means["reliability"]
        cells = [f"{found - real:+.3f} of {real:.2f}" for found, real in zip(reported, true, strict=True)]
        rows.append([str(essays), scheme.value, f"{sd:g}", *cells])
    return rows


def ended(policy: Policy, essays: int, sd: float, seed: int) -> tuple[float, float]:
    """Play a batch through the decider; return its verdicts per essay and the Spearman correlation with the truth."""
    theta = np.random.default_rng([seed, 0]).normal(0.0, sd, essays)
    rng = np.random.default_rng([seed, 1])
    named = tuple(Essay(id=f"essay-{i}", storage_id=f"text-{i}") for i in range(essays))
    request = BatchRequested(
        batch_id=f"batch-{seed}", correlation_id="request", digest="", essays=named, context=Context()
    )
    batch = decide(None, request, policy, 0.0).batch
    while batch is not None and not batch.finished:
        batch = decide(batch, _report(todo(batch)[0], batch, theta, rng), policy, 0.0).batch
    if batch is None or not batch.scores:
        raise BenchmarkError(f"the batch of seed {seed} has ended without scores")
    newest = batch.scores[-1]
    return 2.0 * newest.verdicts / essays, spearman(np.array(newest.theta), theta)


def _report(effect: Effect, batch: Batch, theta: Floats, rng: np.random.Generator) -> Event:
    match effect:
        case LoadContent():
            return ContentLoaded(batch_id=batch.batch_id, run=batch.run)
        case PlanPairs():
            return computations.plan(batch)
        case Score():
            return computations.score(batch)
        case Submit():
            first, second = batch.pair(effect.index)
            wins = JudgeModel().first_wins(theta[[first]] - theta[[second]], np.zeros(1), rng)[0]
            return VerdictReceived(
                batch_id=batch.batch_id, run=batch.run, index=effect.index, attempt=1, winner="A" if wins else "B"
            )
    raise BenchmarkError(f"a running batch asks for {effect}")


def stopping_rows(replications: int, essays: int) -> list[list[str]]:
    """Return the rows of the table of where batches stop."""
    rows = []
    for target in (0.8, 0.9):
        for wave_size in (5, essays // 2, essays, 2 * essays):
            judging = Judging(wave_size=wave_size, stop_rules=(StopRule.RELIABILITY,))
            policy = Policy(reliability_target=target, max_iterations=10, judging=judging)
            ends = np.array([ended(policy, essays, 2.0, SEED + number) for number in range(replications)])
            per_essay, rho = ends.mean(axis=0)
            rows.append(
                [f"{target:g}", str(wave_size), f"{np.median(ends[:, 0]):.1f}", f"{per_essay:.1f}", f"{rho:.3f}"]
            )
    return rows


def judged(essays: int, per_essay: int) -> tuple[list[Pair], Comparisons]:
    """Return pairs and verdicts of a batch of random matchings."""
    pairs = plan_pairs(essays, essays * per_essay // 2, [], None, SEED)
    theta = np.random.default_rng(SEED).normal(0.0, 2.0, essays)
    compared = np.array(pairs)
    rng = np.random.default_rng(SEED + 1)
    wins = JudgeModel().first_wins(theta[compared[:, 0]] - theta[compared[:, 1]], np.zeros(len(pairs)), rng)
    return pairs, Comparisons(essays, compared[:, 0], compared[:, 1], wins)


def selection_row(essays: int, repeats: int) -> list[str]:
    """Return the row of the table of selection times."""
    pairs, verdicts = judged(essays, min(8, essays - 1))
    fit = map_estimate(verdicts, position=True)
    works = (
        lambda: plan_pairs(essays, 2 * essays, [], None, SEED),
        lambda: plan_pairs(essays, essays // 2, pairs, fit, SEED),
        lambda: plan_pairs(essays, 2 * essays, pairs, fit, SEED),
        lambda: plan_pairs(essays, 1, pairs, fit, SEED),
    )
    return [str(essays), *(spread([1e3 * seconds for seconds in seconds_of(work, repeats)]) for work in works)]


async def longest_block(essays: int) -> list[str]:
    """Return the row of the table of event loop blocks, for a fit and a plan as a worker has them done."""
    pairs, verdicts = judged(essays, min(8, essays - 1))
    fit_task = FitTask(1, 2, verdicts, essays // 2, [], [])
    pairs_task = PairsTask(2 * essays, pairs, verdicts, False, [], SEED, 1)
    computing = Computing()
    try:
        await computing.run(essays, lambda: 0, abs)  # the start of the process is not a computation
        blocks = [await _watched(computing.run(essays, lambda: fit_task, compute_scores))]
        blocks.append(await _watched(computing.run(essays, lambda: pairs_task, choose_pairs)))
        blocks.append(await _watched(asyncio.sleep(1.0)))
    finally:
        computing.close()
    return [str(essays), *(f"{1e3 * block:.1f} in {took:.2f} s" for block, took in blocks)]


async def _watched(work: object) -> tuple[float, float]:
    """Return the longest time between two wakings while ``work`` was awaited, and how long that took, seconds."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload] # any awaitable
    start = last = time.perf_counter()
    longest = 0.0
    while not task.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    await task
    return longest, time.perf_counter() - start


def print_reliability(replications: int) -> None:
    """Measure and print what can be believed of the reported reliability."""
    at = [f"at {number}" for number in RELIABILITY_AT]
    print_table(
        f"Coin flips, {replications} replications: reported reliability (mean, 95 % quantile, highest, above .5)",
        ["essays", "pairs", *at],
        coin_rows(replications),
    )
    print_table(
        f"Reported minus true reliability, {replications} replications (mean difference, true)",
        ["essays", "pairs", "sd", *at],
        error_rows(replications),
    )


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--replications", type=int, default=40, help="simulated batches of each kind (default 40)")
    options.add_argument("--essays", type=int, default=30, help="essays of the batches whose accuracy is simulated")
    options.add_argument("--only-reliability", action="store_true", help="only the two tables of the reliability")
    arguments = options.parse_args()
    count = arguments.replications
    print_reliability(count)
    if arguments.only_reliability:
        return
    print_table(
        f"Accuracy, {arguments.essays} essays, {count} replications: Spearman at 10, 14, 20 comparisons per essay",
        ["sd", "pairs", "at 10", "at 14", "at 20", "adaptive saves, %", "coverage", "reliability", "true"],
        accuracy_rows(count, arguments.essays),
    )
    print_table(
        f"Where a batch stops, {arguments.essays} essays, sd 2, {count // 2} replications: verdicts per essay",
        ["reliability target", "wave size", "median", "mean", "Spearman"],
        stopping_rows(count // 2, arguments.essays),
    )
    print_table(
        "Selection, milliseconds",
        ["essays", "random, 2 n pairs", "adaptive, n / 2", "adaptive, 2 n", "adaptive, 1"],
        [selection_row(essays, arguments.repeats) for essays in (10, 30, 100, 300, 1000, 2000)],
    )
    print_table(
        "Longest block of the event loop, milliseconds",
        ["essays", "fit", "plan", "nothing"],
        [asyncio.run(longest_block(essays)) for essays in (30, 100, 300, 1000, 2000)],
    )


if __name__ == "__main__":
    main()
