"""The invariants that are checked as things happen. Each has a short name, by which tests know it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from faust.types import TP
from simulation.broker import Record

from cj_stream.contracts.event_log import decode_event
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import (
    BatchRequested,
    CallbackReceived,
    Event,
    SubmissionAccepted,
    TimeoutDue,
)
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.domain.records import Comparison, ComparisonStatus, Control, Row
from cj_stream.domain.states import TERMINAL
from cj_stream.domain.todo import Effect, Submit
from cj_stream.engine.messages import PartitionOpened, decode_message
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    row_position,
)
from cj_stream.provider.client import Submission
from cj_stream.tables.codec import (
    KINDS,
    decode_row,
    encode_row,
    read_key,
    row_key,
)

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

ONE_ACCEPTANCE = "an accepted attempt is not submitted by the next owner"
ONE_SUBMISSION = "one owner submits an attempt once"
MEMBERS_ONLY = "who has lost its membership submits nothing"
COMMITTED_FIRST = "an effect starts only after its cause is committed"
ROWS_FIRST = "a commit passes no event whose rows are not in the changelog"
FORWARDED_FIRST = "a commit passes no input that was not forwarded or refused"
NO_REGRESS = "the changelog by highest position never goes back"
READ_FIRST = "no batch is timed out while its callbacks lie unread"
SAME_EVENT = "an outcome event id stands for one event"
POOL = "submissions stay within their limits"
OWN_ORIGIN = "the origin of a request is its record"


class Checks:
    """Watches the broker, the effects and the decisions of all processes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._settings = world.settings
        self._violated = world.history.violated
        self.views: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        """For each partition the changelog by highest position: what a recovery would find."""
        self._controls: dict[tuple[int, bytes], int] = {}
        self.landed: Counter[str] = Counter()
        """How often an input, by its tag, is in the events topic."""
        self._expected: dict[tuple[TP, int], str] = {}
        self._callbacks: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self._accepted: dict[tuple[str, int, int, int], int] = {}
        self._markers: dict[str, int] = {}
        self.poison: set[tuple[str, int, int]] = set()
        """Inputs that must become dead letters: topic, partition, offset."""
        self.dead_letters: set[tuple[str, int, int]] = set()
        self.outcomes: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
        self._named: dict[str, tuple[str, str, str]] = {}
        """Whose outcome each event id stands for."""
        """Outcome events by kind, job and correlation id; then by event id."""
        self.submissions: dict[UUID, list[tuple[Process, int]]] = defaultdict(list)
        world.broker.on_append.append(self.appended)
        settings = world.settings
        self._watchers = {
            settings.batch_events_topic: self._event_appended,
            settings.changelog_topic: self._row_appended,
            settings.dead_letters_topic: self._dead_letter_appended,
            settings.assessment_completed_topic: self._outcome_appended,
            settings.assessment_failed_topic: self._outcome_appended,
            settings.assessment_result_topic: self._outcome_appended,
        }

    def appended(self, record: Record) -> None:
        """The broker has a new record."""
        watcher = self._watchers.get(record.topic)
        if watcher is not None:
            watcher(record)

    def expect(self, record: Record, tag: str, batch_id: str = "") -> None:
        """Input ``record`` is to reach the events topic under ``tag``."""
        self._expected[record.tp, record.offset] = tag
        if batch_id:
            self._callbacks[batch_id].append((record.timestamp, tag))

    # --- What processes do -----------------------------------------------------------------------------------------

    def effect(self, process: Process, effect: Effect, batch: Batch, partition: int) -> None:
        """An effect starts, of a batch as its dispatcher knows it."""
        key = row_key(*batch.key, batch.control)
        position = self._controls.get((partition, key + encode_row(batch.control, 0)[9:]))
        committed = self._world.broker.committed.get(TP(self._settings.batch_events_topic, partition), 0)
        if position is None or position >= committed:
            where = "not in the changelog" if position is None else f"at {position}"
            self._violated(COMMITTED_FIRST, f"{process.name} {effect}: its row is {where}, committed is {committed}")
        if isinstance(effect, Submit):
            self._within_cap(process, effect, batch.key)

    def _within_cap(self, process: Process, effect: Submit, key: tuple[str, int]) -> None:
        dispatcher = process.worker.dispatcher
        _, batch = dispatcher._subjects.get(key, (0, None))
        if batch is None:
            return
        # Not an earlier attempt: its answer has come, only the call is not over.
        jobs = {job for job in dispatcher._in_hand.of(key) if isinstance(job, Submit)}
        current = {job.index for job in jobs if batch.comparisons[job.index].attempt == job.attempt}
        under_way = (current & batch.progress.planned) | batch.progress.accepted
        if len(under_way) > self._settings.max_concurrent_comparisons:
            self._violated(POOL, f"{process.name} {effect}: {key} has {sorted(under_way)} under way")

    def pool(self, process: Process, submitting: int) -> None:
        """A process has so many submissions under way."""
        if submitting > self._settings.submission_workers:
            self._violated(POOL, f"{process.name} has {submitting} submissions under way")

    def submitting(self, process: Process, submission: Submission) -> None:
        """A process is about to submit: nothing that it could have read before must have been there already."""
        if not self._world.group.knows(process):
            self._violated(MEMBERS_ONLY, f"{process.name} submits {submission.batch_id}")
        found = read_correlation_id(submission.correlation_id)
        assert found is not None
        run = int(submission.job_id.rpartition("-")[2])
        accepted = self._accepted.get((submission.batch_id, run, found.index, found.attempt))
        nonce = process.worker.engine.opener._nonces.get(found.partition)
        if accepted is None or nonce is None:
            return
        marker = self._markers.get(nonce)
        if marker is None or accepted < marker:
            self._violated(
                ONE_ACCEPTANCE,
                f"{process.name} submits {submission.batch_id} {found}: accepted at {accepted}, marker at {marker}",
            )

    def submitted(self, process: Process, generation: int, submission: Submission) -> None:
        """A submission has reached the provider, which was not too busy for it."""
        before = self.submissions[submission.correlation_id]
        # One, and one more for each change of the owner: a new generation, or a process in the place of a dead one.
        if any(generation == then and (taker is process or taker.node is not process.node) for taker, then in before):
            self._violated(
                ONE_SUBMISSION,
                f"{process.name}: {submission.batch_id} {read_correlation_id(submission.correlation_id)}",
            )
        before.append((process, generation))

    def committing(self, process: Process, offsets: dict[TP, int]) -> None:
        """A commit has reached the broker."""
        for tp, at in offsets.items():
            if tp.topic == self._settings.batch_events_topic:
                flights = process.producer.in_flight(self._settings.changelog_topic, tp.partition)
                causes = [*(flight.cause for flight in flights), *process.app.table.causes[tp.partition]]
                if any(cause < at for cause in causes):
                    self._violated(ROWS_FIRST, f"{process.name} commits {tp.partition}@{at}, rows of {min(causes)}")
            for offset in range(self._world.broker.committed.get(tp, 0), at):
                tag = self._expected.get((tp, offset))
                refused = (*tp, offset) in self.poison
                missing = tag is not None and tag not in self.landed
                if missing or (refused and (*tp, offset) not in self.dead_letters):
                    self._violated(FORWARDED_FIRST, f"{process.name} commits {tp} {at}, but not done: {offset} {tag}")

    # --- What the broker gets --------------------------------------------------------------------------------------

    def _event_appended(self, record: Record) -> None:
        for event in events_of(record):
            match event:
                case CallbackReceived():
                    self.landed[event.justification or event.error_message or ""] += 1
                case BatchRequested():
                    self._request_appended(record, event)
                case SubmissionAccepted():
                    key = (event.batch_id, event.run, event.index, event.attempt)
                    self._accepted.setdefault(key, record.offset)
                case PartitionOpened():
                    self._markers[event.nonce] = record.offset
                case TimeoutDue():
                    self._timeout_appended(record, event)

    def _request_appended(self, record: Record, event: BatchRequested) -> None:
        tag, origin = request_tag(event.batch_id, event.correlation_id), event.origin
        self.landed[tag] += 1
        place = (
            None if origin is None else (TP(self._settings.assessment_request_topic, origin.partition), origin.offset)
        )
        if place is None or self._expected.get(place) != tag:
            self._violated(OWN_ORIGIN, f"{record.partition}@{record.offset}: {event.correlation_id} is from {origin}")

    def _timeout_appended(self, record: Record, event: TimeoutDue) -> None:
        width = self._settings.batch_monitor_interval_minutes * 60
        window_end = (event.due_at // width + 1) * width
        for sent_at, tag in self._callbacks[event.batch_id]:
            if sent_at < window_end and tag not in self.landed:
                self._violated(READ_FIRST, f"{event.batch_id} at {record.partition}@{record.offset}: {tag} lies unread")

    def _row_appended(self, record: Record) -> None:
        key, value = record.key or b"", record.value
        view = self.views[record.partition]
        if value is None:
            view.pop(key, None)
            return
        old = view.get(key)
        if key[:1] == KINDS[Control]:
            self._controls.setdefault((record.partition, key + value[9:]), row_position(value))
        if old is not None and row_position(value) < row_position(old):
            self._world.history.note("changelog", f"{record.partition}@{record.offset} is outdated: {key!r}")
            return
        view[key] = value
        if old is not None and key != HEARTBEAT_KEY and old[9:] != value[9:]:
            # A worker that froze in the middle of an event may leave rows of it that are not those of its successor.
            same_event = row_position(value) == row_position(old)
            why = regress(decode_row(key, old), decode_row(key, value), same_event, self._world.torn)
            if why:
                self._violated(NO_REGRESS, f"{record.partition}@{record.offset} {read_key(key)}: {why}")

    def _dead_letter_appended(self, record: Record) -> None:
        headers = dict(record.headers)
        place = (headers["cj-topic"].decode(), int(headers["cj-partition"]), int(headers["cj-offset"]))
        self.dead_letters.add(place)

    def _outcome_appended(self, record: Record) -> None:
        event = json.loads(record.value or b"")
        data = event["data"]
        job = str(data.get("cj_assessment_job_id"))
        key = (record.topic, job, event["correlation_id"])
        if self._named.setdefault(event["event_id"], key) != key:
            self._violated(SAME_EVENT, f"{record.topic}@{record.offset}: {event} has the id of another outcome")
        before = self.outcomes[key].setdefault(event["event_id"], event)
        # Who is refused twice is told so twice, with the time of each.
        if before != event and self._world.upstream.sent[UUID(event["correlation_id"])] < 2:
            self._violated(SAME_EVENT, f"{record.topic}@{record.offset}: {event} after {before}")


def regress(old: Row, new: Row, same_event: bool, torn: bool) -> str | None:
    """Return what went back from one row to the next, if anything did. Of the same event only verdicts must stay.

    Who is cut off between the rows of an event may leave its control row behind those of the successor, to whom the
    event was a repeat. A batch's last activity is not promised then, see ``docs/guarantees.md``.
    """
    if isinstance(old, Comparison) and isinstance(new, Comparison):
        if old.status is ComparisonStatus.JUDGED or (not same_event and _standing(new) <= _standing(old)):
            return f"{old} became {new}"
        if new.attempt > old.attempt + 1:
            return f"an attempt was skipped: {old} {new}"
    if isinstance(old, Control) and isinstance(new, Control):
        if old.state in TERMINAL and new.state is not old.state:
            return f"{old.state} became {new.state}"
        times = ("created_at", "state_since") if torn else ("created_at", "state_since", "activity_at")
        for name in ("iteration", "fits", "scoring_round", *times):
            if getattr(new, name) < getattr(old, name):
                return f"{name} went from {getattr(old, name)} to {getattr(new, name)}"
    return None


def _standing(row: Comparison) -> tuple[bool, int, int]:
    """Return how far a comparison is: a verdict ends it; of an attempt, an answer outranks what the submission said."""
    failed = 3 if row.answered else 1
    ranks = {ComparisonStatus.PLANNED: 0, ComparisonStatus.ACCEPTED: 2, ComparisonStatus.FAILED: failed}
    return row.status is ComparisonStatus.JUDGED, row.attempt, ranks.get(row.status, 4)


def request_tag(batch_id: str, correlation_id: str) -> str:
    """Return the name of a request among the inputs."""
    return f"request {batch_id} {correlation_id}"


def events_of(record: Record) -> list[Event | PartitionOpened]:
    """Return the events in a record of the events topic; none if it is no message of events."""
    try:
        return [decode_event(data) for data in decode_message(record.value or b"")]
    except msgspec.MsgspecError:
        return []
