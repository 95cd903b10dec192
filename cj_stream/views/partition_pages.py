"""The partitions that stand, of all workers, and an operator's command to go on behind a batch that cannot be read.

Only the worker that has a partition knows that it stands there now; who is asked asks the others.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from aiokafka.structs import TopicPartition

from cj_stream.engine.standing import Standing
from cj_stream.engine.times import iso_time
from cj_stream.engine.web_answers import (
    ApiError,
    bad_request,
    json_answer,
)
from cj_stream.views.parameters import check_token
from cj_stream.views.routing import ROUTED, Routing
from cj_stream.views.worker_parts import WorkerParts

_MOST_DIGITS = 9


class StepOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of the command: the offset that the partition stands at, and what the operator knows.

    ``behind`` is where to go on, where that cannot be told; ``accept_loss`` that events may be lost for good.
    """

    offset: int
    behind: int | None = None
    accept_loss: bool = False


class PartitionPages:
    """The pages about partitions."""

    def __init__(self, worker: WorkerParts, routing: Routing) -> None:
        self._worker = worker
        self._routing = routing

    async def overview(self, request: web.Request) -> web.Response:
        """Answer with the partitions that stand, of all workers."""
        found = [self._row(standing) for standing in self._worker.engine.guard.standing().values()]
        asked, query = [] if "scope" in request.query else self._others(), {"scope": "local"}
        answers = await asyncio.gather(*(self._routing.get_json(url, "/partitions", query) for url in asked))
        missing = [url for url, answer in zip(asked, answers, strict=True) if answer is None]
        for answer in answers:
            found += answer["standing"] if answer else []
        found.sort(key=lambda row: (row["topic"], row["partition"], row["worker"]))
        return json_answer({"standing": found, "complete": not missing, "workers_missing": missing})

    async def step_over(self, request: web.Request, topic: str, partition: str) -> web.Response:
        """Have one record stand in place of the batch that the partition stands at."""
        check_token(self._worker.settings.operator_token, request.headers.get("Authorization", ""))
        wanted = _body(await request.read())
        at = TopicPartition(topic, int(partition) if partition.isdecimal() and len(partition) <= _MOST_DIGITS else -1)
        standing = self._worker.engine.guard.standing().get(at)
        if standing is not None and standing.offset == wanted.offset:
            return self._step_over(at, standing, wanted)
        if ROUTED not in request.headers:
            for url in self._others():
                answer = await self._routing.pass_on(request, url)
                if answer is not None and answer.status != web.HTTPNotFound.status_code:
                    return answer
        message = f"No worker says that partition {partition} of {topic} stands at offset {wanted.offset}."
        raise ApiError(404, "not_standing", message, advice="Look at /partitions for those that do.")

    def _step_over(self, at: TopicPartition, standing: Standing, wanted: StepOver) -> web.Response:
        behind = standing.behind if wanted.behind is None else wanted.behind
        if standing.is_changelog:
            message = "A changelog is stepped over with all workers stopped, by cj-stream partitions step-over."
            raise ApiError(409, "is_changelog", message)
        if behind is None or behind <= standing.offset:
            message = "Where the next batch begins cannot be told: name the offset to go on at as `behind`."
            raise ApiError(409, "behind_unknown", message)
        lost = f"offsets {standing.offset} to {behind - 1}, {behind - standing.offset} at most"
        if at.topic == self._worker.settings.batch_events_topic and not wanted.accept_loss:
            message = (
                f"Events are lost for good: {lost} of partition {at.partition}. Batches whose home it is may have to "
                "be cancelled and requested again."
            )
            raise ApiError(409, "loses_events", message, advice="Send accept_loss: true.")
        self._worker.engine.guard.step_over(at, standing.offset, behind)
        return json_answer({"accepted": "step-over", "topic": at.topic, "partition": at.partition, "lost": lost}, 202)

    def _others(self) -> list[str]:
        return [url for url in self._routing.workers() if url != self._routing.own_url]

    def _row(self, standing: Standing) -> dict[str, Any]:
        return {
            "topic": standing.topic,
            "partition": standing.partition,
            "offset": standing.offset,
            "behind": standing.behind,
            "why": standing.why,
            "since": iso_time(standing.since),
            "meaning": standing.meaning,
            "worker": self._routing.own_url,
        }


def _body(body: bytes) -> StepOver:
    try:
        return msgspec.json.decode(body, type=StepOver)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request("bad_body", f'The body must be like {{"offset": 7}}: {error}') from error
