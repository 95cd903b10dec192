"""How much of a budget two gateways use together, and whether they ever ask for more.

Two batches, three workers, 600 requests and 200,000 tokens a minute, ten minutes; texts once short, so that requests
bind, and once long, so that tokens do. The endpoint is in the process of the benchmark, and counts any 60 seconds.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace

from kit import ROOT, local_broker, parser, print_table

sys.path.append(str(ROOT / "tests"))

from gateway_runs.budget import REQUESTS, TOKENS, Used, use_budget

COLUMNS = ["texts", "requests/min", "tokens/min", "of the limit", "429", "unequal by", "by batch"]
LENGTHS = {"short": 1, "long": 12}
"""Sentences of a text."""


def arguments() -> Namespace:
    """Read the command line."""
    made = parser(__doc__, repeats=1)
    made.add_argument("--minutes", type=float, default=10.0, help="how long each is measured (default 10)")
    made.add_argument("--workers", type=int, default=3, help="workers that ask (default 3)")
    return made.parse_args()


def row(name: str, used: Used) -> list[str]:
    """Return a row of the table."""
    return [
        name,
        f"{used.requests:.0f}",
        f"{used.tokens:,.0f}",
        f"{used.of_the_limit:.1%}",
        str(used.too_many),
        f"{used.largest_share:.1%}",
        str(used.by_batch),
    ]


def main(given: Namespace) -> None:
    """Measure and print."""
    rows = []
    with local_broker() as (bootstrap, folder):
        for repeat in range(given.repeats):
            for name, sentences in LENGTHS.items():
                own = folder / f"{name}-{repeat}"
                own.mkdir()
                measuring = use_budget(
                    bootstrap, own, seconds=given.minutes * 60, workers=given.workers, sentences=sentences
                )
                rows.append(row(name, asyncio.run(measuring)))
    print_table(f"A budget of {REQUESTS} requests and {TOKENS:,} tokens a minute, two gateways", COLUMNS, rows)


if __name__ == "__main__":
    main(arguments())
