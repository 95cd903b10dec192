"""The home of a partition's jobs: has each event decided, and tells what is to be stored and what may go on.

Of jobs without an answer it keeps the head in memory, never the texts: how many there are, and of which batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import structlog
from msgspec.structs import replace

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.engine.dead_letters import Refusal
from cj_stream.engine.home import Applied, Entry, Undecided
from cj_stream.engine.overrides.table import Put
from cj_stream.gateway.deciding import decide
from cj_stream.gateway.job_rows import BATCH, JOB, SCOPE, TEXTS, JobRows, Key
from cj_stream.gateway.jobs import AnyEvent, CancelledBatch, Job, Scope, todo

log = structlog.get_logger(__name__)


class Subject(NamedTuple):
    """A job or a cancelled batch as it is now, None when there is none any more."""

    key: Key
    row: Job | CancelledBatch | None


class Unanswered:
    """The jobs of one partition that have no answer."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._of_batch: dict[str, dict[str, None]] = defaultdict(dict)
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def under_way(self) -> int:
        """Return of how many a call was begun that has not ended, as far as is known."""
        return sum(job.under_way for job in self._jobs.values())

    def of(self, batch_id: str) -> Iterable[str]:
        """Return the ids of the jobs of a batch."""
        return tuple(self._of_batch.get(batch_id, ()))

    def put(self, job_id: str, job: Job | None) -> None:
        """Take over a job as it is now."""
        known = self._jobs.pop(job_id, None)
        if known is not None:
            self.bytes -= known.size
            for batch_id in known.batches:
                self._of_batch[batch_id].pop(job_id, None)
                if not self._of_batch[batch_id]:
                    del self._of_batch[batch_id]
        if job is not None and job.answer is None:
            self._jobs[job_id] = job
            self.bytes += job.size
            for batch_id in job.batches:
                self._of_batch[batch_id][job_id] = None


class _Held(NamedTuple):
    row: Any
    stored: int
    """The position of the row before this run."""
    offset: int = -1
    """Of the event that changed it last, -1 for none."""
    at: float = 0.0


class _Run:
    """The rows of a partition while a run of events is decided: what an event changes is taken over when it succeeds.

    A row that is ahead of an event, because who had the partition before has died behind it, is left as it is.
    """

    def __init__(self, partition: int, rows: JobRows, unanswered: Unanswered) -> None:
        self._partition = partition
        self._rows = rows
        self._unanswered = unanswered
        self._base = rows.positions.of(partition, 0)
        self._held: dict[Key, _Held] = {}
        self._event: dict[Key, Any] = {}

    def take(self, entry: Entry[AnyEvent]) -> None:
        """Have an event decided. Whatever is raised, nothing of it remains."""
        record = entry.record
        self._event = {}
        decide(self, entry.event, record.timestamp)
        for key, row in self._event.items():
            held = self._find(key)
            if held.stored < self._base + record.offset and not (row is None and held.row is None):
                self._held[key] = held._replace(row=row, offset=record.offset, at=record.timestamp)
                if key[0] == JOB:
                    self._unanswered.put(key[1], row)

    def puts(self) -> list[Put]:
        """Return what is to be stored: texts before the jobs that vouch for them, deletions and a heartbeat last."""
        changed = sorted(self._changed(), key=lambda item: (item[1].row is None, item[0][0] == JOB))
        puts = [self._rows.put(key, held.row, self._base + held.offset, held.at) for key, held in changed]
        if any(held.row is None for _, held in changed):
            last = max(held.offset for _, held in changed)
            puts.append(self._rows.positions.heartbeat(self._partition, last))
        return puts

    def subjects(self) -> list[Subject]:
        """Return the jobs and batches that have changed."""
        return [Subject(key, held.row) for key, held in self._changed() if key[0] in (JOB, BATCH)]

    def scopes(self) -> dict[str, Scope]:
        """Return what has changed of providers and models."""
        return {key[1]: held.row for key, held in self._changed() if key[0] == SCOPE}

    def _changed(self) -> list[tuple[Key, _Held]]:
        return [(key, held) for key, held in self._held.items() if held.offset >= 0]

    def _find(self, key: Key) -> _Held:
        if key not in self._held:
            self._held[key] = _Held(*self._rows.read(self._partition, key))
        return self._held[key]

    def _get(self, key: Key) -> Any:
        return self._event[key] if key in self._event else self._find(key).row

    # --- What decisions read and write -------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job | None:
        job: Job | None = self._get((JOB, job_id))
        return job

    def put_job(self, job_id: str, job: Job | None) -> None:
        self._event[JOB, job_id] = job

    def put_request(self, job_id: str, request: ComparisonRequest | None) -> None:
        self._event[TEXTS, job_id] = request

    def batch(self, batch_id: str) -> CancelledBatch | None:
        batch: CancelledBatch | None = self._get((BATCH, batch_id))
        return batch

    def put_batch(self, batch_id: str, batch: CancelledBatch | None) -> None:
        self._event[BATCH, batch_id] = batch

    def scope(self, name: str) -> Scope:
        return self._get((SCOPE, name)) or Scope()

    def put_scope(self, name: str, scope: Scope) -> None:
        self._event[SCOPE, name] = scope

    def unanswered(self, batch_id: str) -> Iterable[str]:
        return self._unanswered.of(batch_id)


class JobHome:
    """The jobs of one partition."""

    def __init__(self, partition: int, rows: JobRows) -> None:
        self._partition = partition
        self._rows = rows
        self.unanswered = Unanswered()
        for job_id, job in rows.all(partition, JOB):
            self.unanswered.put(job_id, job)
        self.scopes: dict[str, Scope] = dict(rows.all(partition, SCOPE))

    def subjects(self) -> Iterator[Subject]:
        """Iterate over all jobs and cancelled batches; say how many calls may have been paid for without an answer."""
        if in_doubt := self.unanswered.under_way():
            log.warning(
                "calls were under way when their gateway ended: they are made again, and may be paid for twice",
                partition=self._partition,
                calls=in_doubt,
            )
        for name, batch in self._rows.all(self._partition, BATCH):
            yield Subject((BATCH, name), batch)
        for name, job in self._rows.all(self._partition, JOB):
            # Of thousands that only wait for their end the answers are not to lie in memory.
            yield Subject((JOB, name), job if todo(job) else replace(job, answer=b""))

    async def apply(self, entries: Sequence[Entry[AnyEvent]]) -> Applied[Subject, AnyEvent]:
        """Apply events, in order."""
        run = _Run(self._partition, self._rows, self.unanswered)
        undecided: list[Undecided[AnyEvent]] = []
        for entry in entries:
            try:
                run.take(entry)
            except Exception as error:  # noqa: BLE001 (it would fail the same way again, and end every gateway)
                # The error of a value may quote it, and texts are nobody's to read here.
                log.error("an event could not be decided", offset=entry.record.offset, error=type(error).__name__)  # noqa: TRY400
                undecided.append(Undecided(entry, Refusal("undecidable_event", type(error).__name__)))
        self.scopes.update(run.scopes())
        return Applied(run.puts(), run.subjects(), undecided)

    def pause(self, scope: str, until: float, why: str) -> None:
        """Keep to a pause at once, before the log tells of it."""
        self.scopes[scope] = replace(self.scopes.get(scope, Scope()), paused_until=until, why=why)
