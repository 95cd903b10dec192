"""Who asks: requests as the platform sends them, their repeats and variants, and input that nobody can use."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from simulation.checks import request_tag
from simulation.plan import batch_name
from simulation.provider_model import MISSING

from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides
from cj_stream.contracts.request_writer import write_request

if TYPE_CHECKING:
    from simulation.world import World

VARIANTS = ("repeat", "join", "other content")

GARBAGE = (b"", b"not json", b"[1, 2]", b'{"event_type": "x"}', b"\xff\xfe", b'{"correlation_id": "x"}')


class Upstream:
    """Sends the requests of a run. ``requests`` are all that have to be answered."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self.requests: list[AssessmentRequest] = []
        self.sent: Counter[UUID | None] = Counter()
        """How often each was sent, by its correlation id."""
        plan = world.plan
        for number, size in enumerate(plan.sizes):
            first = self._request(batch_name(number), size, "e")
            at = self._chance.random() * 3
            self._later(at, first)
            for kind in VARIANTS:
                if self._chance.random() < plan.variants:
                    self._later(at + self._chance.random() * 10, self._variant(kind, first))
            for _ in range(self._chance.randint(2, 6) if plan.rush else 0):
                self._later(at + self._chance.random() * 30, self._variant(self._chance.choice(VARIANTS), first))
        world.plan.busy_until = max(world.plan.busy_until, 34.0 if plan.rush else 14.0 if plan.variants else 4.0)
        for topic in (*world.read_topics, world.settings.batch_events_topic):
            if self._chance.random() < plan.poison:
                world.scheduler.after(self._chance.random() * 4, self._send_garbage, topic)

    def _variant(self, kind: str, first: AssessmentRequest) -> AssessmentRequest:
        if kind == "repeat":
            return first
        like = first if kind == "join" else None
        return self._request(first.batch_id, len(first.essays) if like else 2, "x", like)

    def _request(
        self, batch_id: str, size: int, content: str, like: AssessmentRequest | None = None
    ) -> AssessmentRequest:
        essays = tuple(
            RequestedEssay(f"{content}{i}", self._storage_id(f"{batch_id}-{content}{i}")) for i in range(size)
        )
        return AssessmentRequest(
            batch_id=batch_id,
            correlation_id=UUID(int=self._chance.getrandbits(128)),
            essays=like.essays if like else essays,
            language="en",
            course_code="ENG5",
            overrides=RequestedOverrides(),
            user_id="a teacher",
            completion_threshold=self._world.plan.threshold,
            requested_at=datetime.fromtimestamp(self._world.scheduler.clock.now, UTC),
        )

    def _storage_id(self, name: str) -> str:
        return f"{MISSING}-{name}" if self._chance.random() < self._world.plan.missing else name

    def _later(self, delay: float, request: AssessmentRequest) -> None:
        self.requests.append(request)
        self.sent[request.correlation_id] += 1
        self._world.scheduler.after(delay, self._send, request)

    def _send(self, request: AssessmentRequest) -> None:
        if self._world.broker.away:
            self._world.scheduler.after(self._world.broker.away, self._send, request)
            return
        topic = self._world.settings.assessment_request_topic
        assert request.correlation_id is not None
        # A repeat has the bytes of the first one.
        value = write_request(request, request.correlation_id)
        # Requests of one batch id may stand in different partitions, as from producers without keys.
        number = random.Random(value).randrange(self._world.broker.partitions[topic])
        record = self._world.broker.append(topic, number, request.batch_id.encode(), value)
        self._world.history.note("upstream", f"asks for {request.batch_id}: {len(request.essays)} essays")
        if request.essays:
            self._world.checks.expect(record, request_tag(request.batch_id, str(request.correlation_id)))
        else:
            self._world.checks.poison.add((*record.tp, record.offset))

    def _send_garbage(self, topic: str) -> None:
        number = self._chance.randrange(self._world.broker.partitions[topic])
        record = self._world.broker.append(topic, number, None, self._chance.choice(GARBAGE))
        self._world.checks.poison.add((*record.tp, record.offset))
        self._world.history.note("upstream", f"sends garbage to {topic} {number}@{record.offset}")
