"""The list of batches: those of this worker, and those of all workers together.

Only heads are read to choose what goes on the page; whole batches only for those on it. A finished batch never changes
in what its summary shows, so its summary is kept. When it was created belongs to its identity: runs are numbered from 1
again after the retention period.

Whether the list is complete is told by partitions, not by workers: while one worker takes over from another, a
partition may be in nobody's hands, and everybody who is asked answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple

from cj_stream.domain.batch import Batch
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.states import BatchState
from cj_stream.engine.conditions import Conditions
from cj_stream.engine.health import degraded
from cj_stream.tables.batch_rows import BatchRows
from cj_stream.views.conditions import without_repeats
from cj_stream.views.parameters import member
from cj_stream.views.place_in_list import PlaceInList
from cj_stream.views.routing import Routing
from cj_stream.views.summary import Place, summary

SUMMARIES_KEPT = 2000
TURN = 50
"""Heads read before other work of the event loop gets its turn."""

Answer = dict[str, Any]


_STATES = {state.value: state for state in BatchState}


class Wanted(NamedTuple):
    """Which batches are listed: all of them, or those in a state, of a user, or with an essay."""

    state: BatchState | None = None
    user: str | None = None
    essay: str | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Wanted:
        """Return what a request asks for; raises `ApiError` 400 for a state that there is not."""
        return cls(member(query, "state", _STATES), query.get("user"), query.get("essay"))

    @property
    def query(self) -> dict[str, str]:
        """The same as a query."""
        return {name: str(value) for name, value in self._asdict().items() if value is not None}

    def takes(self, head: Batch) -> bool:
        """Return whether a batch is one of these."""
        roster = head.roster
        return (
            (self.state is None or head.state is self.state)
            and (self.user is None or roster.context.user_id == self.user)
            and (self.essay is None or any(essay.id == self.essay for essay in roster.essays))
        )


class Listing:
    """Lists batches: those that live first, then those that have ended, each the newest first."""

    def __init__(
        self, routing: Routing, partitions: Mapping[int, PartitionBatches], rows: BatchRows, conditions: Conditions
    ) -> None:
        self._routing = routing
        self._partitions = partitions
        self._rows = rows
        self._conditions = conditions
        self._finished: dict[tuple[str, int, float], Answer] = {}

    def forget(self) -> None:
        """Keep nothing of batches that have ended."""
        self._finished.clear()

    async def local(self, wanted: Wanted, limit: int, after: PlaceInList | None) -> Answer:
        """Return the batches of this worker that come ``after`` a place; ``total`` counts those before it too.

        The worker counts itself as missing while a partition of it is not open.
        """
        found = [
            (PlaceInList.of(head), partition, head) async for partition, head in self._heads() if wanted.takes(head)
        ]
        found.sort(key=lambda entry: entry[0].order, reverse=True)
        page = [entry for entry in found if after is None or entry[0].order < after.order]
        shown = [await self._summary(partition, head) for _, partition, head in page[:limit]]
        return {
            "batches": [line for line in shown if line is not None],
            "total": len(found),
            "next": page[limit - 1][0].text if len(page) > limit else None,
            "partitions": sorted(self._routing.opener.opened_at),
            "complete": self._routing.all_open(),
            "workers_asked": 1,
            "workers_missing": [] if self._routing.all_open() else [self._routing.own_url],
            "degraded": degraded(self._conditions),
        }

    async def everywhere(self, wanted: Wanted, limit: int, after: PlaceInList | None) -> Answer:
        """Return the batches of all workers, and which workers and partitions have not answered in full."""
        own = self._routing.own_url
        others = [url for url in self._routing.workers() if url != own]
        query = {"scope": "local", "limit": str(limit), **wanted.query}
        query |= {"after": after.text} if after else {}
        answers = await asyncio.gather(
            self.local(wanted, limit, after), *(self._routing.get_json(url, "/batches", query) for url in others)
        )
        return _merged(zip([own, *others], answers, strict=True), limit, self._routing.partitions)

    async def _heads(self) -> AsyncIterator[tuple[int, Batch]]:
        for partition in sorted(self._routing.opener.opened_at):
            # A partition may be taken away at any await; reading it then would open its database again.
            if not self._routing.is_open(partition):
                continue
            live = {batch.key: batch for batch in self._partitions[partition]}
            for batch in live.values():
                yield partition, batch
            for number, head in enumerate(self._rows.heads(partition)):
                if head.key not in live:
                    yield partition, head
                if number % TURN == TURN - 1:
                    await asyncio.sleep(0)
                    if not self._routing.is_open(partition):
                        break

    async def _summary(self, partition: int, head: Batch) -> Answer | None:
        identity = (*head.key, head.control.created_at)
        if identity in self._finished:
            return self._finished[identity]
        await asyncio.sleep(0)
        if not self._routing.is_open(partition):
            return None
        live = {batch.key: batch for batch in self._partitions[partition]}
        batch = live.get(head.key) or self._rows.load(partition, *head.key)
        if batch is None:
            return None
        line = summary(batch, Place(partition, self._routing.own_url))
        if batch.finished:
            if len(self._finished) >= SUMMARIES_KEPT:
                self._finished.clear()
            self._finished[identity] = line
        return line


def _merged(answers: Iterable[tuple[str, Any]], limit: int, partitions: int) -> Answer:
    answered: list[Answer] = []
    missing: set[str] = set()
    asked = 0
    for url, answer in answers:
        asked += 1
        if isinstance(answer, dict) and isinstance(answer.get("batches"), list):
            answered.append(answer)
            missing.update(answer["workers_missing"])
        else:
            missing.add(url)
    lines = [line for answer in answered for line in answer["batches"]]
    lines.sort(key=lambda line: PlaceInList.of_line(line).order, reverse=True)
    more = len(lines) > limit or any(answer["next"] for answer in answered)
    unserved = set(range(partitions)).difference(*(answer["partitions"] for answer in answered))
    return {
        "batches": lines[:limit],
        "total": sum(answer["total"] for answer in answered),
        "next": PlaceInList.of_line(lines[:limit][-1]).text if more and lines else None,
        "complete": not missing and not unserved,
        "workers_asked": asked,
        "workers_missing": sorted(missing),
        "partitions_missing": sorted(unserved),
        "degraded": without_repeats(condition for answer in answered for condition in answer["degraded"]),
    }
