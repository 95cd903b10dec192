"""Whether an input has been read to its end by the whole group, asked before something is said to be overdue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cj_stream.engine.hardening import Engine
from cj_stream.engine.overrides.lag import Read, caught_up, nothing_blocked


class AllRead:
    """Asks about these topics; remembers between the questions which transactions are open."""

    def __init__(self, engine: Engine[Any], *topics: str) -> None:
        self._engine = engine
        self._topics: Sequence[str] = topics
        self._blocked = {topic: nothing_blocked() for topic in topics}

    async def ask(self) -> Read:
        """Return whether everything that is there now has been read, within a session."""
        settings, standing = self._engine.settings, list[str]()
        for topic in self._topics:
            patience, limit = settings.session_timeout_seconds, settings.standing_minutes * 60
            read = await caught_up(self._engine.faust, topic, patience, self._blocked[topic], limit)
            if not read.everything:
                return read
            standing += read.standing
        # Who was frozen has not served: by its clock everybody may be idle, although nobody could do anything.
        self._engine.fence.check()
        return Read(everything=True, standing=tuple(standing))
