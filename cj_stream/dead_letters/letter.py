"""Dead letters: refused input as it came, with the reason beside it in headers.

| Header | Content |
|---|---|
| ``cj-reason`` | machine code, as in ``Refused.reason`` |
| ``cj-detail`` | a sentence: what, where, what to do |
| ``cj-topic``, ``cj-partition``, ``cj-offset`` | where the record stood |
| ``cj-timestamp`` | the record's own time, ISO 8601 in UTC |
| ``cj-size``, ``cj-sha256`` | bytes and digest of the whole original value; ``-1`` and empty where there was none |
| ``cj-service`` | who refused it |
| ``cj-batch-id``, ``cj-correlation-id`` | only where they were readable |

A record with neither key nor value has a dead letter with an empty value, since aiokafka sends no record without both;
its size of ``-1`` says that there was none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime

from cj_stream.contracts.fields import Identifier, Integer, Timestamp, WireModel, WireUUID, wire_time
from cj_stream.contracts.message_limits import REQUEST_LIMIT
from cj_stream.contracts.outcome_writer import SERVICE
from cj_stream.contracts.refusal import Refused, validated
from cj_stream.engine.dead_letters import Letter, Refusal, RefusedInput

PREFIX = "cj-"
WHOLE_VALUE_LIMIT = REQUEST_LIMIT
"""Bytes up to which a value is kept whole: whatever was small enough to be read can be looked at and sent again."""
CUT_VALUE_LIMIT = 64 * 1024
"""Bytes kept of a larger value."""
SHORTER_LIMITS = (CUT_VALUE_LIMIT, 4096, 0)
"""Bytes kept of a value, one after the other, where the topic takes no more."""
SHORTEST_LIMIT = 64
"""Bytes kept of a key and of the detail, where the topic takes hardly anything."""
LETTER_KEY_BYTES = 1024
"""Bytes kept of a key; a shorter one is whole."""

_NO_VALUE = "-1"


class _Headers(WireModel):
    reason: str
    detail: str
    topic: str
    partition: Integer
    offset: Integer
    timestamp: Timestamp
    size: Integer
    sha256: str = ""
    service: str
    batch_id: Identifier | None = None
    correlation_id: WireUUID | None = None


class StoredDeadLetter(_Headers):
    """A dead letter read back. ``size`` is that of the whole original value, -1 where there was none."""

    key: bytes | None
    value: bytes | None

    @property
    def is_whole(self) -> bool:
        """Whether ``value`` is the whole original value, so that it can be sent again."""
        return len(self.value) == self.size if self.value is not None else self.size < 0

    @property
    def has_whole_key(self) -> bool:
        """Whether ``key`` is certainly the whole original key."""
        return self.key is None or len(self.key) < LETTER_KEY_BYTES


def dead_letter(
    *,
    key: bytes | None,
    value: bytes | None,
    topic: str,
    partition: int,
    offset: int,
    timestamp: datetime,
    refused: Refusal,
) -> Letter:
    """Return the dead letter of a record; key and value are unchanged but for their ends when too long.

    It can always be produced: what was neither is written as an empty value.
    """
    headers = {
        "reason": refused.reason,
        "detail": refused.detail,
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "timestamp": wire_time(timestamp),
        "size": _NO_VALUE if value is None else str(len(value)),
        "sha256": "" if value is None else hashlib.sha256(value).hexdigest(),
        "service": SERVICE,
    }
    if isinstance(refused, Refused) and refused.batch_id is not None:
        headers["batch-id"] = refused.batch_id
    if isinstance(refused, Refused) and refused.correlation_id is not None:
        headers["correlation-id"] = str(refused.correlation_id)
    encoded = [(PREFIX + name, text.encode(errors="backslashreplace")) for name, text in headers.items()]
    kept = b"" if key is None and value is None else _kept(value)
    return Letter(None if key is None else key[:LETTER_KEY_BYTES], kept, encoded)


def envelope(found: RefusedInput) -> Iterator[Letter]:
    """Yield the dead letter of refused input, and then smaller and smaller ones."""
    yield from shortened(
        dead_letter(
            key=found.key,
            value=found.value,
            topic=found.topic,
            partition=found.partition,
            offset=found.offset,
            timestamp=found.at,
            refused=found.refusal,
        )
    )


def shortened(letter: Letter) -> Iterator[Letter]:
    """Yield ``letter`` as it is and then smaller and smaller, for a topic that takes it in no larger form.

    ``cj-size`` tells a reader of every form that the value is not whole.
    """
    yield letter
    for limit in SHORTER_LIMITS:
        if letter.value is not None and len(letter.value) > limit:
            yield letter._replace(value=letter.value[:limit])
    key = None if letter.key is None else letter.key[:SHORTEST_LIMIT]
    headers = [
        (name, content[:SHORTEST_LIMIT] if name == f"{PREFIX}detail" else content) for name, content in letter.headers
    ]
    yield Letter(key, b"", headers)


def _kept(value: bytes | None) -> bytes | None:
    if value is None or len(value) <= WHOLE_VALUE_LIMIT:
        return value
    return value[:CUT_VALUE_LIMIT]


def read_dead_letter(
    key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> StoredDeadLetter:
    """Return a record of the dead-letter topic. Raises ``Refused`` when its headers are not ours."""
    texts: dict[str, object] = {
        name.removeprefix(PREFIX).replace("-", "_"): content.decode(errors="replace")
        for name, content in headers
        if name.startswith(PREFIX) and content is not None
    }
    if texts.get("size") == _NO_VALUE:
        value = None
    return validated(StoredDeadLetter, {**texts, "key": key, "value": value}, "headers")
