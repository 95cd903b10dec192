"""How long estimates take against the number of items, beside the routines of the library choix.

Simulated items, spread 1.5 logits, compared with 15 others each; the verdicts are the same for all. All times are
taken in turns in one run. The table of accuracy says how far each routine is from the top of the likelihood: choix's
`opt_pairwise` has the same penalty as the prior of 2 logits here, its other routines another one, or none; those are
listed with the correlation of their scores with ours. Without choix (`make bench` installs it) its columns stay empty.

The service computes with one thread of linear algebra, which has to be said here from outside, as `make bench` does:
OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from kit import parser, print_table, seconds_of, spread
from scoring import simulated

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.estimator import map_estimate, map_scores
from cj_stream.scoring.estimation.fit import Estimator
from cj_stream.scoring.estimation.graph import strong_components
from cj_stream.scoring.estimation.likelihood import Likelihood

Floats = npt.NDArray[np.float64]
PRIOR_SD = 2.0
# What takes many seconds with more items is left out from there on.
SLOW_ITEMS = 300


def ours(data: Comparisons) -> dict[str, Callable[[], object]]:
    """Return what is measured of the service's own."""
    likelihood = Likelihood(data, PRIOR_SD**-2)
    probability = likelihood.first_win_probability(map_scores(data, PRIOR_SD))
    return {
        "scores, prior known": lambda: map_scores(data, PRIOR_SD),
        "covariance": lambda: likelihood.covariance(probability),
        "whole fit, prior known": lambda: map_estimate(data, prior_sd=PRIOR_SD),
        "whole fit": lambda: map_estimate(data),
        "whole fit, order effect too": lambda: map_estimate(data, position=True),
        "whole fit, Firth": lambda: estimate(data, Estimator.FIRTH),
        "whole fit, NMM": lambda: estimate(data, Estimator.NMM),
    }


def choix_routines(data: Comparisons) -> dict[str, Callable[[], Floats]]:
    """Return the routines of choix; those without a penalty only where an estimate without one exists."""
    import choix  # noqa: PLC0415 -- only with the extra `bench`

    n, won = data.n, data.first_wins > 0.5
    wins = list(zip(np.where(won, data.first, data.second), np.where(won, data.second, data.first), strict=True))
    penalty = 0.5 / PRIOR_SD**2
    routines: dict[str, Callable[[], Floats]] = {
        "choix opt, Newton-CG": lambda: choix.opt_pairwise(n, wins, alpha=penalty, method="Newton-CG"),
        "choix opt, BFGS": lambda: choix.opt_pairwise(n, wins, alpha=penalty, method="BFGS"),
        "choix lsr, alpha .01": lambda: choix.lsr_pairwise(n, wins, alpha=0.01),
        "choix ilsr, alpha .01": lambda: choix.ilsr_pairwise(n, wins, alpha=0.01),
    }
    if n < SLOW_ITEMS:
        routines["choix mm, alpha .01"] = lambda: choix.mm_pairwise(n, wins, alpha=0.01)
        routines["choix ep"] = lambda: choix.ep_pairwise(n, wins, alpha=penalty * 2.0, model="logit")[0]
    if strong_components(data).total == 1:
        routines["choix ilsr, no penalty"] = lambda: choix.ilsr_pairwise(n, wins)
    return routines


def accuracy(data: Comparisons, routines: dict[str, Callable[[], Floats]]) -> list[list[str]]:
    """Return, for each routine, its largest distance from our scores, and its correlation with them."""
    reference = map_scores(data, PRIOR_SD)
    rows = []
    for name, routine in routines.items():
        theta = routine()
        theta = theta - theta.mean()
        distance = f"{np.abs(theta - reference).max():.1e}" if " opt," in name else "another penalty"
        rows.append([str(data.n), name, distance, f"{np.corrcoef(theta, reference)[0, 1]:.5f}"])
    return rows


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=5)
    options.add_argument("--items", type=int, nargs="+", default=[30, 100, 300, 1000], help="numbers of items")
    arguments = options.parse_args()
    times, distances = [], []
    for n in arguments.items:
        data = simulated(n)[0]
        works: dict[str, Callable[[], object]] = dict(ours(data))
        if n >= SLOW_ITEMS:
            del works["whole fit, Firth"]
        if find_spec("choix"):
            routines = choix_routines(data)
            works |= routines
            distances += accuracy(data, routines)
        for name, work in works.items():
            milliseconds = [1e3 * seconds for seconds in seconds_of(work, arguments.repeats)]
            times.append([str(n), str(len(data)), name, spread(milliseconds)])
    print_table(
        f"Estimates, milliseconds ({arguments.repeats} runs)", ["items", "comparisons", "what", "milliseconds"], times
    )
    print_table("Distance from our scores", ["items", "routine", "largest distance", "correlation"], distances)


if __name__ == "__main__":
    main()
