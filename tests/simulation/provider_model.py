"""The world outside: the LLM provider that answers by callbacks, and the content service. Both can behave badly."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

from simulation.decisions import ANY_ATTEMPT, Answer

from cj_stream.content.errors import ContentUnavailable, TextMissing
from cj_stream.contracts.callback_writer import write_callback
from cj_stream.contracts.comparison_api import Accepted, ComparisonAnswer, ImmediateVerdict, NotAccepted
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.domain.records import Slot
from cj_stream.provider.breakers import Breakers
from cj_stream.provider.client import ProviderUntold, Submission

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

MISSING = "missing"
"""What the storage id of a missing text begins with."""

TAKEN = "taken by the provider"
"""Stands for a topic in faults that strike whoever has the provider take submission number so and so."""

SCOPE = "p/m"
"""The one provider and model that everybody asks."""

ECHOED = 1 << 78
"""The bit that makes an id of ours one of somebody else's: of the version."""


@dataclass(frozen=True)
class Manners:
    """How badly the provider and the content service behave: shares of the submissions, 0 to 1."""

    busy: float = 0.0
    refused: float = 0.0
    failed: float = 0.0
    immediate: float = 0.0
    lost: float = 0.0
    error: float = 0.0
    late: float = 0.0
    repeated: float = 0.0
    forged: float = 0.0
    echoed: float = 0.0
    """Callbacks with an id that is not ours, to be found by the echoed essays."""
    content_away: float = 0.0
    foreign: float = 0.0
    """Callbacks to somebody else's submissions."""
    slowest: float = 5.0
    """Seconds a callback takes at most."""

    @property
    def loses(self) -> bool:
        """Whether an attempt may go without a verdict."""
        return bool(self.refused or self.failed or self.lost or self.error or self.late)


def verdict(seed: int, first: str, second: str) -> Slot:
    """Return the one verdict on a pair: mostly for the essay with the lower number."""
    upset = crc32(f"{seed}/{min(first, second)}/{max(first, second)}".encode()) % 5 == 0
    return "A" if (first < second) != upset else "B"


class ProviderModel:
    """Takes submissions of all processes, and appends callbacks to the topic."""

    def __init__(self, world: World, manners: Manners) -> None:
        self._world = world
        self._manners = manners
        self.taken: dict[UUID, list[tuple[Process, int]]] = {}
        """Who submitted an attempt, and in which generation, unless it was told to come back later."""
        self._away_until = 0.0
        self.genuine: dict[str, Answer] = {}
        """The callbacks that tell of a submission of ours, by their tags."""
        self._callbacks = 0
        self._cancelled: set[str] = set()

    def go_away(self, seconds: float) -> None:
        """Be out of reach for a while."""
        self._world.history.note("provider", f"is away for {seconds} s")
        self._away_until = self._world.scheduler.clock.now + seconds

    async def submit(self, process: Process, breakers: Breakers, submission: Submission) -> ComparisonAnswer:
        """Submit as the real client does, but in one try."""
        wait = breakers.admit(SCOPE, submission.batch_id)
        if wait > 0:
            return NotAccepted(kind="busy", code="CIRCUIT_BREAKER_OPEN", message="open", retry_after_seconds=wait)
        if self._away_until > self._world.scheduler.clock.now:
            await asyncio.sleep(self._world.chance.random())
            breakers.failed(SCOPE, submission.batch_id, "away")
            return NotAccepted(kind="busy", code="CONNECTION_ERROR", message="away")
        try:
            answer = await self._submit(process, submission)
        except BaseException:
            breakers.abandoned(SCOPE)
            raise
        breakers.succeeded(SCOPE)
        return answer

    async def _submit(self, process: Process, submission: Submission) -> ComparisonAnswer:
        self._world.checks.submitting(process, submission)
        generation = process.app.consumer_generation_id
        answer: ComparisonAnswer = await process.ask_provider(self._arrived, process, generation, submission)
        if self._world.chance.random() < 0.3:
            await asyncio.sleep(self._world.chance.random())
        return answer

    async def cancel_run(self, process: Process, job_id: str) -> None:
        """Hear that nothing of a run is wanted any more: what is not yet answered is not answered."""
        if self._away_until > self._world.scheduler.clock.now:
            raise ProviderUntold("away")
        if self._world.chance.random() < self._manners.busy:
            raise ProviderUntold("not like this", passes=False)
        await process.ask_provider(self._cancelled.add, job_id)

    async def text(self, storage_id: str) -> str:
        if self._world.chance.random() < 0.1:
            await asyncio.sleep(self._world.chance.random() * 0.3)
        if self._world.chance.random() < self._manners.content_away:
            raise ContentUnavailable("it is away")
        if storage_id.startswith(MISSING):
            raise TextMissing(storage_id, "there is none")
        return storage_id

    def _arrived(self, process: Process, generation: int, submission: Submission) -> ComparisonAnswer:
        chance, manners = self._world.chance, self._manners
        what = f"{submission.batch_id} {submission.essay_a_id}:{submission.essay_b_id}"
        if chance.random() < manners.busy:
            self._world.history.note("provider", f"is busy: {what}")
            return NotAccepted(kind="busy", code="BUSY", message="later", retry_after_seconds=0.3)
        self._world.checks.submitted(process, generation, submission)
        if chance.random() < manners.refused:
            return NotAccepted(kind="refused", code="REFUSED", message="no")
        winner = verdict(self._world.seed, essay_of(submission.text_a), essay_of(submission.text_b))
        if chance.random() < manners.immediate:
            return ImmediateVerdict(winner=winner, confidence=3.0, justification="", provider="p", model="m")
        self._world.history.note("provider", f"takes {what} from {process.name}")
        self._world.counted(process, TAKEN)
        self._call_back(submission, winner)
        if chance.random() < manners.foreign:
            self._later(chance.random() * 3, self._somebody_elses(submission), self._foreign_id(), winner)
        if chance.random() < manners.failed:
            return NotAccepted(kind="failed", code="HTTP_500", message="who knows")
        return Accepted(queue_id="q")

    def _call_back(self, submission: Submission, winner: Slot) -> None:
        chance, manners = self._world.chance, self._manners
        other: Slot = "B" if winner == "A" else "A"
        delay = chance.random() ** 2 * manners.slowest
        if chance.random() < manners.forged:
            forged = forge(submission.correlation_id, chance.randrange(4))
            self._later(delay * chance.random(), submission, forged, other)
        if chance.random() < manners.lost:
            return
        if chance.random() < manners.error:
            self._later(delay, submission, submission.correlation_id, None)
            return
        if chance.random() < manners.late:
            delay += self._world.settings.comparison_deadline_minutes * 60
        own = submission.correlation_id
        correlation_id = UUID(int=own.int ^ ECHOED) if chance.random() < manners.echoed else own
        self._later(delay, submission, correlation_id, winner)
        if chance.random() < manners.repeated:
            self._later(delay + 0.001 + chance.random() * 3, submission, correlation_id, other)

    def _foreign_id(self) -> UUID:
        # Half of them are of version 8, as ours, and name any partition, as ids of another service may.
        number = UUID(int=self._world.chance.getrandbits(128), version=4).int
        return UUID(int=number ^ self._world.chance.choice((0, (4 ^ 8) << 76)))

    def _somebody_elses(self, submission: Submission) -> Submission:
        batch_id = self._world.chance.choice((submission.batch_id, "not ours"))
        return replace(submission, batch_id=batch_id, essay_a_id="their 1", essay_b_id="their 2")

    def _later(self, delay: float, submission: Submission, correlation_id: UUID, winner: Slot | None) -> None:
        self._world.scheduler.after(delay, self._send, submission, correlation_id, winner)

    def _send(self, submission: Submission, correlation_id: UUID, winner: Slot | None) -> None:
        if self._world.broker.away:
            self._later(self._world.broker.away, submission, correlation_id, winner)
            return
        if submission.job_id in self._cancelled:
            return
        tag = f"callback {self._callbacks}"
        self._callbacks += 1
        if correlation_id == submission.correlation_id:
            self.genuine[tag] = attempt_of(submission)
        elif correlation_id.int == submission.correlation_id.int ^ ECHOED:
            self.genuine[tag] = attempt_of(submission)._replace(attempt=ANY_ATTEMPT)
        now = datetime.fromtimestamp(self._world.scheduler.clock.now, UTC)
        value = write_callback(
            correlation_id=correlation_id,
            request_id=tag,
            winner=winner,
            confidence=4.0 if winner else None,
            justification=tag if winner else None,
            error_code=None if winner else "JUDGE_ERROR",
            error_message=None if winner else tag,
            provider="p",
            model="m",
            requested_at=now,
            completed_at=now,
            response_time_ms=5,
            request_metadata={
                "essay_a_id": submission.essay_a_id,
                "essay_b_id": submission.essay_b_id,
                "bos_batch_id": submission.batch_id,
            },
        )
        topic = self._world.settings.llm_provider_callback_topic
        # A provider's repeats stay behind their originals: it keys by what it answers.
        number = crc32(submission.correlation_id.bytes) % self._world.broker.partitions[topic]
        record = self._world.broker.append(topic, number, None, value)
        self._world.checks.expect(record, tag, submission.batch_id)
        odd = "" if correlation_id == submission.correlation_id else ", not under its id"
        about = f"{submission.batch_id} {submission.essay_a_id}:{submission.essay_b_id} {winner or 'error'}{odd}"
        self._world.history.note("provider", f"{tag} to {record.partition}@{record.offset}: {about}")


def attempt_of(submission: Submission) -> Answer:
    """Return which attempt a submission is."""
    found = read_correlation_id(submission.correlation_id)
    assert found is not None
    return Answer((submission.batch_id, int(submission.job_id.rpartition("-")[2])), found.index, found.attempt)


def essay_of(text: str) -> str:
    """Return the id of the essay whose text this is."""
    return text.rpartition("-")[2]


def forge(correlation_id: UUID, how: int) -> UUID:
    """Return a correlation id that looks like ours, and is not: a damaged check, or that of another comparison."""
    # From the low end: 62 free bits with the 60 of the check, two of the attempt; above the variant's two bits 12 more
    # free ones with the other four of the attempt and the lowest eight of the index.
    return UUID(int=correlation_id.int ^ 1 << (17, 61, 68, 69)[how])
