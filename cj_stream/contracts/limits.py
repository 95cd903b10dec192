"""Sizes of what is written, in bytes, written down once so that they agree with each other.

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
ESSAY_BYTES = 80
"""What an essay with ids as long as the platform's takes in an event."""
MOST_ESSAYS = EVENT_LIMIT // ESSAY_BYTES
"""More essays with such ids fit into no event, so ``CJ_MAX_ESSAYS`` cannot allow them."""
MOST_PLANNED_PAIRS = EVENT_LIMIT // 8
"""Pairs planned at a time: each takes up to 7 bytes in an event, and in its row."""
REQUEST_LIMIT = 4 * 1024 * 1024
"""A request as it comes: with all that is not kept of it, such as each essay's spellcheck figures."""
REQUESTED_ESSAY_BYTES = 1_000
"""What a request may have for each essay, where ``CJ_MAX_ESSAYS`` allows so many that they need more."""
CALLBACK_LIMIT = 512 * 1024
"""A callback, or an answer of the LLM provider, as it comes."""
GATHERED_LIMIT = 256 * 1024
"""Events are gathered into one message up to here; a larger one travels alone."""
PUBLISHED_LIMIT = 64 * 1024 * 1024
"""The largest record that is published, before it is compressed. Its topic has a limit of its own."""
REASONS_LIMIT = 256 * 1024
"""Characters of all the reasons together why texts of one batch cannot be used."""
