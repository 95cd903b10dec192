"""Whatever crashes a worker ends its process at once, with a code that says whether another start helps.

Hazards in Faust 0.15.3 and mode 0.7.1: a crash in any service marks the whole tree as crashed and then stops it in
order, part by part (``mode/services.py`` 901, ``mode/worker.py`` 258-305). The stop of a thread waits for it without
limit (``mode/threads.py`` 83), and a thread that is left keeps the process: some crashes lingered for over a minute.
And the exit code is 1, whatever happened.

Tests: ``test_crashes.py``; ``tests/kafka/test_endings.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import structlog
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)
from faust.exceptions import ImproperlyConfigured

from cj_stream.engine.naming import Names
from cj_stream.engine.process import end_process, refuse_to_start

log = structlog.get_logger(__name__)

_BY_KAFKA: dict[type[KafkaError], str] = {
    GroupAuthorizationFailedError: "Kafka does not let this worker into the group of {app_id}: grant it READ",
    TopicAuthorizationFailedError: "Kafka does not let this worker use a topic: grant it READ or WRITE on it",
    ClusterAuthorizationFailedError: "Kafka does not let this worker write: grant it IDEMPOTENT_WRITE on the cluster",
    UnsupportedVersionError: "the broker at {kafka_bootstrap} is too old for this worker: it needs Kafka 2.1 or newer",
}
_LOCKED = "While lock file"


def end_for(error: BaseException, names: Names) -> NoReturn:
    """End the process because of an exception that nobody has handled, with its traceback in the log."""
    log.critical("the worker crashed", exc_info=error)
    why = next(filter(None, (_to_change(cause, names) for cause in _chain(error))), None)
    if why is not None:
        refuse_to_start([why])
    end_process(
        "something nobody has foreseen happened in the worker", error=", because of ".join(map(repr, _chain(error)))
    )


def _to_change(error: BaseException, names: Names) -> str | None:
    """Return what somebody has to change before another start helps, None if it may help by itself."""
    if isinstance(error, ImproperlyConfigured):
        return f"the settings do not fit together: {error}"
    for kind, sentence in _BY_KAFKA.items():
        if isinstance(error, kind):
            told = sentence.format(app_id=names.setting("app_id"), kafka_bootstrap=names.setting("kafka_bootstrap"))
            return f"{told} ({error})"
    if _LOCKED in str(error):
        folder = names.setting("data_dir")
        return f"another process has a database of {folder} open: end it, or name another folder ({error})"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
