"""How long the estimate and the planning of pairs take, against the number of essays.

Simulated essays, spread 1.5 logits, compared with 15 others each. Measured are the estimate with its full covariance,
and the planning of an iteration (4 comparisons per essay): by random matchings before there is any comparison, and by
D-optimality from the estimate. Pure computation, with one thread of linear algebra, as the service has it, if
OPENBLAS_NUM_THREADS=1 says so; `make bench` does.
"""

from __future__ import annotations

import numpy as np
from kit import parser, print_table, seconds_of, spread

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.pairing.pairing import plan_pairs

COMPARISONS_PER_ESSAY = 15
PLANNED_PER_ESSAY = 4
SPREAD_LOGITS = 1.5
SEED = 20


def simulated(n: int) -> tuple[Comparisons, list[tuple[int, int]]]:
    """Return the verdicts on n essays, and the pairs as they were planned."""
    pairs = plan_pairs(n, n * COMPARISONS_PER_ESSAY // 2, [], None, SEED)
    rng = np.random.default_rng(SEED)
    quality = rng.normal(0.0, SPREAD_LOGITS, n)
    verdicts = [(a, b, float(rng.random() < 1 / (1 + np.exp(quality[b] - quality[a])))) for a, b in pairs]
    return Comparisons.from_triples(n, verdicts), pairs


def measured(n: int, repeats: int) -> list[str]:
    """Return the row of the table for n essays."""
    data, history = simulated(n)
    count = n * PLANNED_PER_ESSAY // 2
    fit = map_estimate(data)
    works = (
        lambda: map_estimate(data),
        lambda: plan_pairs(n, count, [], None, SEED),
        lambda: plan_pairs(n, count, history, fit, SEED),
    )
    milliseconds = ([1e3 * seconds for seconds in seconds_of(work, repeats)] for work in works)
    return [str(n), str(len(data)), *map(spread, milliseconds)]


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=5)
    options.add_argument("--essays", type=int, nargs="+", default=[30, 100, 300, 1000], help="numbers of essays")
    arguments = options.parse_args()
    print_table(
        f"Scoring, milliseconds ({arguments.repeats} runs)",
        ["essays", "comparisons", "estimate", "plan, random", "plan, adaptive"],
        [measured(n, arguments.repeats) for n in arguments.essays],
    )


if __name__ == "__main__":
    main()
