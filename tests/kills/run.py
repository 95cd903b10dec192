"""Runs the kill suite with random schedules, each on a fleet of its own, with a history of what happened in a file.

PYTHONPATH=tests .venv/bin/python -m kills.run 4711           # this seed
PYTHONPATH=tests .venv/bin/python -m kills.run 0 --runs 20    # these 20
PYTHONPATH=tests .venv/bin/python -m kills.run 1 --schedule short-5 --mutation trust-the-local-store   # has to fail
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import sys
import time
from pathlib import Path

from kills.mutations import MUTATIONS
from kills.play import BATCHES, WORKERS, Waves, run, tried
from kills.schedules import SHORT, UNHARMED, random_schedule
from kills.trial import Trial, Wrong

from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port

SCHEDULES: dict[str, Waves] = {
    "short": SHORT,
    "unharmed": UNHARMED,
    **{f"short-{number}": [wave] for number, wave in enumerate(SHORT, 1)},
}


async def play(kafka: LocalKafka, folder: Path, seed: int, schedule: str, batches: int) -> Trial:
    """Run one seed. Raises `Wrong` with all that was found."""
    waves = SCHEDULES.get(schedule) or random_schedule(seed)
    unharmed = schedule == "unharmed"
    async with tried(kafka, folder, seed=seed, batches=batches) as trial:
        await run(trial, waves, workers=1 if unharmed else WORKERS)
    if unharmed and (trial.ends or set(trial.post.submissions.values()) != {1}):
        trial.broken.append(f"nobody was killed: {trial.ends}, {trial.submissions}")
    if trial.broken:
        raise Wrong("\n".join(trial.broken))
    return trial


def main() -> None:
    """Run the seeds that the command line names, and end with the first that fails."""
    options = _options()
    if options.mutation:
        os.environ["KILL_MUTATION"] = options.mutation
    logging.disable(logging.CRITICAL)  # the clients' complaints about a broker that is away on purpose
    options.folder.mkdir(parents=True, exist_ok=True)
    kafka = LocalKafka(options.folder / "broker")
    kafka.start(free_port())
    try:
        for seed in range(options.seed, options.seed + options.runs):
            _one(kafka, options, seed)
    finally:
        kafka.stop()


def _one(kafka: LocalKafka, options: argparse.Namespace, seed: int) -> None:
    folder = options.folder / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    started = time.monotonic()
    try:
        trial = asyncio.run(play(kafka, folder, seed, options.schedule, options.batches))
    except Wrong as wrong:
        command = f"PYTHONPATH=tests {sys.executable} -m kills.run {seed}"
        command += f" --schedule {options.schedule} --batches {options.batches}"
        sys.exit(f"seed {seed}: {wrong}\nhistory: {folder / 'history.jsonl'}; logs beside it\nagain: {command}")
    print(  # noqa: T201 (a command's output)
        f"seed {seed} holds: {len(trial.expected)} batches, {trial.total} verdicts, {len(trial.ends)} ends of workers, "
        f"attempts by submissions {trial.submissions}, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != "history.jsonl":
            left.unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the kill suite.")
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds from there on")
    parser.add_argument("--schedule", choices=("random", *SCHEDULES), default="random")
    parser.add_argument("--batches", type=int, default=BATCHES)
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="a mistake to put into the workers")
    parser.add_argument("--folder", type=Path, default=Path("var/kills"), help="for histories and logs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
