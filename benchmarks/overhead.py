"""What the hardening costs: callbacks per second of one worker, with it and without, in alternating runs.

The workload of ``callbacks.py``: all callbacks wait when the worker starts, and time runs until every verdict is in the
changelog ("stored"), and until all of it is committed. Without means: no part of ``stock.py`` is left, but the settings
of the producer and of the commits are the same, so that only the mechanisms are compared. The runs alternate, and the
ratio is taken in each pair of neighbours, so that what else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from argparse import Namespace
from pathlib import Path

from callbacks import COMPARISONS_PER_ESSAY, accepted, throughput
from installation import installation
from kit import local_broker, parser, print_table, spread
from scene import ROOT
from stock import HARDENED, STOCK

WITHOUT = tuple(part for part in STOCK if part != "settings")


async def run(bootstrap: str, folder: Path, options: Namespace, without: tuple[str, ...]) -> tuple[float, ...]:
    """Measure on a fresh installation; return callbacks per second stored and committed, and processor time each."""
    changes = {"max_iterations": 1, "comparisons_per_essay": COMPARISONS_PER_ESSAY, "submission_workers": 64}
    async with installation(bootstrap, folder, **changes) as stage:
        worker = stage.worker(app="altered_worker")
        worker.environment |= {"BENCH_WITHOUT": ",".join(without), "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT}"}
        worker.start()
        waiting = await accepted(stage, worker, [f"batch-{i}" for i in range(options.batches)], options.essays)
        return await throughput(stage, worker, waiting)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--batches", type=int, default=80, help="batches whose callbacks wait (default 80)")
    options.add_argument("--essays", type=int, default=40, help="essays of a batch, at most 50 (default 40)")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = options.parse_args()
    runs: dict[str, list[tuple[float, ...]]] = {"hardened": [], "stock": []}
    with local_broker() as (bootstrap, folder):
        for number in range(arguments.repeats):
            for name, without in (("hardened", HARDENED), ("stock", WITHOUT)):
                place = folder / f"overhead-{name}-{number}"
                runs[name].append(asyncio.run(run(bootstrap, place, arguments, without)))
    ratios = [
        [hardened / stock for hardened, stock in zip(*pair, strict=True)]
        for pair in zip(runs["hardened"], runs["stock"], strict=True)
    ]
    runs["hardened / stock, of each pair"] = [tuple(found) for found in ratios]
    if arguments.json:
        print(json.dumps(runs))
        return
    count = arguments.batches * arguments.essays * COMPARISONS_PER_ESSAY // 2
    print_table(
        f"One worker, {count:,} callbacks waiting ({arguments.repeats} alternating pairs)",
        ["worker", "callbacks/s, stored", "callbacks/s, committed", "processor time per callback, microseconds"],
        [[name, *map(spread, zip(*found, strict=True))] for name, found in runs.items()],
    )
    stored = statistics.median(found[0] for found in ratios)
    print(f"\nThe hardened worker stores {stored:.0%} of what the stock one does (median of the pairs).")


if __name__ == "__main__":
    main()
