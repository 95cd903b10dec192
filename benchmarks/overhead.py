"""What the hardening costs: callbacks per second of one worker, with it and without, in alternating runs.

The workload of ``callbacks.py``: all callbacks wait when the worker starts, and time runs until every verdict is in the
changelog ("stored"), and until all of it is committed. Without means: no part of ``stock.py`` is left, but the settings
of the producer and of the commits are the same, so that only the mechanisms are compared. The runs alternate, and the
ratio is taken in each pair of neighbours, so that what else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from callbacks import COLUMNS, Figures, worked_off
from installation import installation
from kit import in_turns, local_broker, parser, print_in_turns
from stock import HARDENED, STOCK
from waiting import Backlog, backlog

WITHOUT = tuple(part for part in STOCK if part != "settings")


async def run(bootstrap: str, folder: Path, waiting: Backlog, without: tuple[str, ...]) -> Figures:
    """Measure on a fresh installation."""
    async with installation(bootstrap, folder) as stage:
        worker = stage.worker(app="altered_worker")
        worker.environment["BENCH_WITHOUT"] = ",".join(without)
        return await worked_off(stage, worker, waiting)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--batches", type=int, default=80, help="batches whose callbacks wait (default 80)")
    options.add_argument("--comparisons", type=int, default=200, help="of each, at most 250 (default 200)")
    arguments = options.parse_args()
    waiting = backlog(arguments.batches, arguments.comparisons)
    with local_broker() as (bootstrap, folder):
        found = in_turns(
            {"stock": WITHOUT, "hardened": HARDENED},
            arguments.repeats,
            lambda without, name: asyncio.run(run(bootstrap, folder / f"overhead-{name}", waiting, without)),
        )
    count = len(waiting.callbacks)
    print_in_turns(f"One worker, {count:,} callbacks waiting ({arguments.repeats} runs)", COLUMNS, found)


if __name__ == "__main__":
    main()
