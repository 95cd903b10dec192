"""What is checked before a worker starts: codecs, that the broker answers, and that every topic is as it has to be.

Hazard in Faust 0.15.3: a topic that is missing is left out of the assignment without a word
(``assignor/partition_assignor.py`` 180), and with other partitions than the table's it is assigned apart from it.

Test: ``tests/kafka/test_worker_start.py``.
"""

from __future__ import annotations

import asyncio
from itertools import count

import structlog

from cj_stream.contracts.topics import registry
from cj_stream.operations.settings import Settings
from cj_stream.streaming import codecs
from cj_stream.streaming.process import refuse_to_start
from cj_stream.streaming.provisioning import ProvisioningError, find_problems

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 3.0
LOG_EVERY = 10


def check_codecs() -> None:
    """End the process with exit code 78 if a record compressed with one of Kafka's codecs could not be read."""
    if problems := codecs.find_problems():
        refuse_to_start(problems)


async def check_topics(settings: Settings) -> None:
    """Wait for the broker, then end the process with exit code 78 if a topic is missing or wrong."""
    for attempt in count():
        try:
            problems = await find_problems(settings.kafka_bootstrap, registry(settings))
        except ProvisioningError as error:
            if attempt % LOG_EVERY == 0:
                log.warning("waiting for Kafka", why=str(error), again_in_seconds=PAUSE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        if problems:
            refuse_to_start(problems)
        return
