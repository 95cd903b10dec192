"""Stock against hardened: what each directed fault loses, repeats and delays, on a real Apache Kafka.

Every fault is played with the service as it is and without any of the hardening ("stock": Faust 0.15.3 as it comes,
its default producer settings included). `--modes hardened without stock` plays it also without just those parts that
are there against it, which is what shows whether they are needed. The verdicts are fixed in advance, so it is known
what must come out. "Seconds" go from the fault to the last outcome. What does no harm is printed like everything else.

`--list` tells the faults, `--only WORD` plays those whose name contains the word, `--repeats 5` plays each more often.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from account import Account, account, settled
from catalogue import HAZARDS, Hazard
from kit import BenchmarkError, local_broker, parser, print_table
from scene import scene
from stock import HARDENED, STOCK

MODES = ("hardened", "without", "stock")


async def played(bootstrap: str, folder: Path, hazard: Hazard, mode: str) -> Account:
    """Play a hazard once and return what it cost."""
    without = {"hardened": HARDENED, "without": hazard.parts, "stock": STOCK}[mode]
    async with scene(bootstrap, folder, without, **hazard.changes) as stage:
        fault_at = await hazard.play(stage)
        await settled(stage)
        return await account(stage, fault_at)


def cells(found: Account) -> list[str]:
    """Return the cells of the table."""
    seconds = "-" if found.seconds is None else f"{found.seconds:.1f}"
    return [
        *map(str, (found.lost, found.repeated, found.cut_off, found.told_again, found.open, found.wrong)),
        seconds,
        str(found.restarts),
    ]


COLUMNS = ["verdicts lost", "submitted again", "cut off", "told again", "batches open", "wrong", "seconds", "restarts"]


def main() -> None:
    """Play and print."""
    options = parser(__doc__, repeats=1)
    options.add_argument("--list", action="store_true", help="list the faults and do nothing")
    options.add_argument("--only", default="", help="play the faults whose name contains this")
    options.add_argument(
        "--modes", nargs="+", choices=MODES, default=("hardened", "stock"), help="default: hardened stock"
    )
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = options.parse_args()
    chosen = [hazard for hazard in HAZARDS if arguments.only in hazard.name]
    if arguments.list:
        print("\n".join(f"{hazard.name}: {hazard.play.__doc__}" for hazard in chosen))
        return
    found = []
    with local_broker() as (bootstrap, folder):
        for number, hazard in enumerate(chosen):
            for mode in arguments.modes:
                for repeat in range(arguments.repeats):
                    shown = mode if mode != "without" else f"without {', '.join(hazard.parts)}"
                    place = folder / f"hazard-{number}-{mode}-{repeat}"
                    try:
                        result = asyncio.run(played(bootstrap, place, hazard, mode))
                    except BenchmarkError as error:
                        print(f"{hazard.name}, {shown}: not played to its end: {error}", file=sys.stderr, flush=True)
                        continue
                    found.append((hazard.name, shown, result))
                    print(f"{hazard.name}, {shown}: {result}", file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps([{"fault": fault, "worker": mode, **result._asdict()} for fault, mode, result in found]))
    else:
        rows = [[fault, mode, *cells(result)] for fault, mode, result in found]
        print_table("Directed faults, one worker unless the fault needs two", ["fault", "worker", *COLUMNS], rows)


if __name__ == "__main__":
    main()
