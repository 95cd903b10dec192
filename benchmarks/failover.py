"""How long partitions are closed when one of two workers goes, killed or stopped in order.

Two workers share the partitions. One gets SIGKILL or SIGTERM; time runs from the signal until the other one serves all
partitions (its readiness is asked every 20 ms). "Closed meanwhile" is how long the survivor was not ready itself: the
group gives out all partitions anew. Then the first one is started again, and next time it is the other one that goes.
The tables are empty: recovering rows comes on top, where the survivor has to read many.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from installation import Installation, installation
from kit import WorkerProcess, local_broker, parser, print_table, spread, until

POLL_SECONDS = 0.02
WAYS = (signal.SIGKILL, signal.SIGTERM)


class Failover(NamedTuple):
    """Seconds until the survivor serves everything, and of these the seconds that it was not ready itself."""

    until_open: float
    closed: float


async def failover(
    stage: Installation, victim: WorkerProcess, survivor: WorkerProcess, way: signal.Signals
) -> Failover:
    """Measure one, and bring the victim back afterwards."""
    not_ready: list[float] = []
    start = time.monotonic()
    victim.send(way)

    async def survivor_has_all() -> bool:
        partitions = await survivor.open_partitions()
        if not partitions:
            not_ready.append(time.monotonic())
        return partitions == stage.settings.partitions

    await until(survivor_has_all, "the survivor serves all partitions", [victim, survivor], poll=POLL_SECONDS)
    end = time.monotonic()
    await victim.ended()
    victim.start()
    await shared(stage, [victim, survivor])
    return Failover(end - start, end - min(not_ready, default=end))


async def shared(stage: Installation, workers: Sequence[WorkerProcess]) -> None:
    """Wait until every worker serves some of the partitions, and together they serve all."""

    async def served() -> bool:
        counts = [await worker.open_partitions() for worker in workers]
        return all(counts) and sum(counts) == stage.settings.partitions

    await until(served, "the workers share all partitions", workers)


async def measured(bootstrap: str, folder: Path, session: float, repeats: int) -> list[list[str]]:
    """Return the rows of the table for one session timeout."""
    rows = []
    async with installation(bootstrap, folder, session_timeout_seconds=session) as stage:
        workers = [stage.worker(), stage.worker()]
        for worker in workers:
            worker.start()
        await shared(stage, workers)
        for way in WAYS:
            found = []
            for number in range(repeats):
                victim, survivor = workers if number % 2 else reversed(workers)
                found.append(await failover(stage, victim, survivor, way))
            cells = (spread([one.until_open for one in found]), spread([one.closed for one in found]))
            rows.append([way.name, f"{session:g} s", *cells])
    return rows


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--sessions", type=float, nargs="+", default=[10, 6], help="session timeouts, seconds")
    arguments = options.parse_args()
    with local_broker() as (bootstrap, folder):
        rows = [
            row
            for session in arguments.sessions
            for row in asyncio.run(measured(bootstrap, folder / f"session-{session:g}", session, arguments.repeats))
        ]
    print_table(
        f"Failover, two workers, seconds ({arguments.repeats} runs)",
        ["signal", "session", "until all partitions are open", "closed meanwhile"],
        rows,
    )


if __name__ == "__main__":
    main()
