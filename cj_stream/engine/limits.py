"""Sizes of what an app writes, in bytes, so that they agree with each other.

What is too large for a topic is refused by it, and a log or a table that refuses stops everything. So whatever is
written there fits: it is checked where it comes in, and the topics are checked when a worker starts.
"""

from __future__ import annotations

DEFAULT_TOPIC_LIMIT = 1_048_588
"""Kafka's ``max.message.bytes`` where nobody has set another one: for a record batch, as it is sent."""
RECORD_LIMIT = 1_000_000
"""The largest record batch that is written to the log of events or to the changelog."""
EVENT_LIMIT = RECORD_LIMIT - 10_000
"""The largest event. A row has what an event brought and little more; the rest is for that, keys and headers."""
GATHERED_LIMIT = 256 * 1024
"""Events are gathered into one message up to here; a larger one travels alone."""
PUBLISHED_LIMIT = 64 * 1024 * 1024
"""The largest record that is published, before it is compressed. Its topic has a limit of its own."""
