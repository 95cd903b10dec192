"""The log of events: read in runs, handed to the home of the partition, stored in one flush, held until the commit.

It is the one writer of the table. A run is decoded event by event; what cannot be read goes to the dead letters alone,
and so does what cannot be decided. The rows of a run leave in one flush, with one promise; what changed is released by
the commit (`releases`). The marker of an opening is the engine's own event, and all others are the app's.

Test: ``test_log.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

import msgspec

from cj_stream.engine.dead_letters import DeadLetters, Refusal
from cj_stream.engine.hardening import Engine
from cj_stream.engine.home import Applied, Entry, EventT, Home, SubjectT
from cj_stream.engine.messages import NewerVersionError, PartitionOpened, decode_message
from cj_stream.engine.positions import Positions
from cj_stream.engine.process import end_process
from cj_stream.engine.runs import Record, Run, in_portions

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: also for texts that are no UTF-8, and for what nests too deeply in a field that nobody knows."""


class Log(Generic[SubjectT, EventT]):
    """Handles the runs of the events topic; ``new_home`` makes the home of a partition from its rows."""

    def __init__(
        self,
        engine: Engine[EventT],
        positions: Positions,
        dead_letters: DeadLetters,
        new_home: Callable[[int], Home[SubjectT, EventT]],
    ) -> None:
        self.homes: dict[int, Home[SubjectT, EventT]] = {}
        self._engine = engine
        self._positions = positions
        self._dead_letters = dead_letters
        self._new_home = new_home

    async def handle(self, run: Run) -> None:
        """Apply the events of a run."""
        self._engine.fence.check()
        changed: list[SubjectT] = []
        entries: list[Entry[EventT]] = []
        opened = False
        async for record in in_portions(run.records):
            for event in await self._events(record):
                if isinstance(event, PartitionOpened):
                    changed += await self._apply(run.partition, entries)
                    entries = []
                    opened = await self._opened(event, record) or opened
                else:
                    entries.append(Entry(event, record))
        changed += await self._apply(run.partition, entries)
        released = list(self._home(run.partition).subjects()) if opened else changed
        self._engine.releases.hold(run.partition, run.last, released)

    def _home(self, partition: int) -> Home[SubjectT, EventT]:
        if partition not in self.homes:
            self.homes[partition] = self._new_home(partition)
        return self.homes[partition]

    async def _opened(self, marker: PartitionOpened, record: Record) -> bool:
        """Return whether the partition opens now: all its subjects may go on then."""
        opens = self._engine.opener.read(record.partition, marker)
        if opens:
            await self._beat(record)
        return opens

    async def _beat(self, record: Record) -> None:
        """Write the heartbeat row: who died deleting may have left the changelog with a tombstone at its end."""
        heartbeat = self._positions.heartbeat(record.partition, record.offset)
        await self._engine.table.write(self._engine.sender, record.partition, [heartbeat])

    async def _apply(self, partition: int, entries: Sequence[Entry[EventT]]) -> Sequence[SubjectT]:
        """Apply events; return the subjects that may go on once they are committed."""
        if not entries:
            return ()
        applied = await self._home(partition).apply(entries)
        await self._tell(entries, applied)
        if applied.puts:
            await self._engine.table.write(self._engine.sender, partition, applied.puts)
        # Before its marker is read a partition starts nothing: what is still to be read may have done it already.
        return applied.changed if partition in self._engine.opener.opened_at else ()

    async def _tell(self, entries: Sequence[Entry[EventT]], applied: Applied[SubjectT, EventT]) -> None:
        """Write the dead letters, and have every event counted in the order in which they came."""
        undecided = {id(entry): refusal for entry, refusal in applied.undecided}
        for entry in entries:
            refusal = undecided.get(id(entry))
            if refusal is None:
                self._dead_letters.accepted(entry.record.topic)
            else:
                await self._dead_letters.put(entry.record, refusal, self._engine.codec.encode(entry.event))

    async def _events(self, record: Record) -> list[EventT | PartitionOpened]:
        events = []
        for data in await self._encoded(record):
            try:
                events.append(self._engine.codec.decode(data))
            except _UNREADABLE as error:
                await self._dead_letters.put(record, Refusal("not_an_event", str(error)), data)
        return events

    async def _encoded(self, record: Record) -> list[bytes]:
        try:
            return decode_message(record.value or b"")
        except NewerVersionError as error:
            end_process(str(error))
        except _UNREADABLE as error:
            await self._dead_letters.put(record, Refusal("not_an_internal_message", str(error)))
            return []
