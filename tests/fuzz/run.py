"""Fuzzes what a worker reads: each seed is one hostile message, handled by the real agents.

PYTHONPATH=tests .venv/bin/python -m fuzz.run 4711             # replay one seed, and show its message and its fate
PYTHONPATH=tests .venv/bin/python -m fuzz.run 0 --seeds 10000  # these 10,000
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from random import Random

import structlog
from fuzz.mutations import internal_message, message
from support.domain.story import requested
from support.wire.contract_samples import CALLBACKS, REQUESTS
from support.wire.event_log import EVENTS, EventLog
from support.wire.event_log import TOPIC as EVENTS_TOPIC
from support.wire.ingress import Fate, Ingress

from cj_stream.contracts.event_log import encode_event
from cj_stream.engine.messages import encode_message

_TIMES = (1772615520.0, 1772615520.0, 0.0, -0.001, 9.2e15)
_SHOWN = 2_000


class Failed(Exception):  # noqa: N818 (the message says it all)
    """A message was not handled as it has to be. The text has the command that replays it, and the message."""

    def __init__(self, seed: int, topic: str, value: bytes | None, error: BaseException) -> None:
        self.seed = seed
        command = f"PYTHONPATH=tests .venv/bin/python -m fuzz.run {seed}"
        what = f"seed {seed}: {type(error).__name__}: {error}"
        super().__init__("\n".join((what, f"{topic}: {_shown(value)}", what, command)))


class Fuzzer:
    """Makes messages of seeds and has them handled. Logs nothing while it does."""

    def __init__(self) -> None:
        self.ingress = Ingress()
        settings = self.ingress.settings
        self._topics = {REQUESTS: settings.assessment_request_topic, CALLBACKS: settings.llm_provider_callback_topic}

    async def run(self, seed: int) -> tuple[str, bytes | None, Fate]:
        """Handle the message of a seed; returns topic, value and what became of it. Raises `Failed`."""
        chance = Random(seed)
        topic = chance.choice((REQUESTS, CALLBACKS, REQUESTS, CALLBACKS, EVENTS_TOPIC))
        value = internal_message(chance) if topic == EVENTS_TOPIC else message(chance, topic)
        key = chance.choice((None, b"", b"a key", chance.randbytes(chance.choice((1, 100, 2_000, 300_000)))))
        try:
            fate = await self._fate(topic, value, key, chance.choice(_TIMES))
        except Exception as error:
            raise Failed(seed, topic, value, error) from error
        return topic, value, fate

    async def _fate(self, topic: str, value: bytes | None, key: bytes | None, at: float) -> Fate:
        if topic != EVENTS_TOPIC:
            return await self.ingress.take(self._topics[topic], value, key=key, timestamp=at)
        log = EventLog()
        await log.read(value, key, at)
        await log.read(encode_message([encode_event(requested(3, batch_id="the next one"))]), None, at)
        assert "the next one" in log.batches, "the partition moves on"
        assert len(log.letters) <= len(EVENTS), "each event is refused once"
        return Fate(letter=log.letters[0]) if log.letters else Fate(applied=True)


async def fuzz(first: int, count: int) -> Counter[str]:
    """Run ``count`` seeds from ``first`` on, and return how often each fate came about. Raises `Failed`."""
    fates: Counter[str] = Counter()
    logging_before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        fuzzer = Fuzzer()
        for seed in range(first, first + count):
            _, _, fate = await fuzzer.run(seed)
            fates[fate.kind] += 1
    finally:
        structlog.configure(**logging_before)
    return fates


def _shown(value: bytes | None) -> str:
    if value is None:
        return "no value"
    return f"{len(value)} bytes: {value[:_SHOWN]!r}" + (" ..." if len(value) > _SHOWN else "")


def main() -> None:
    """Run the seeds that the command line names."""
    parser = argparse.ArgumentParser(description="Fuzz the ingress.")
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds from there on")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        if options.seeds == 1:
            topic, value, fate = asyncio.run(Fuzzer().run(options.seed))
            print(f"{topic}: {_shown(value)}\n{fate.kind}")  # noqa: T201 (a command's output)
        else:
            fates = asyncio.run(fuzz(options.seed, options.seeds))
            counts = ", ".join(f"{count} {kind}" for kind, count in fates.most_common())
            print(f"{options.seeds} messages in {time.monotonic() - started:.0f} s: {counts}")  # noqa: T201 (as above)
    except Failed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
