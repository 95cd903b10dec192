"""Sizes of what the service reads and writes, in bytes. Those of a record of the log or the table are the engine's."""

from __future__ import annotations

from cj_stream.engine.limits import EVENT_LIMIT

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
REASONS_LIMIT = 256 * 1024
"""Characters of all the reasons together why texts of one batch cannot be used."""
