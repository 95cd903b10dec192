"""The list of batches: those of this worker, and those of all workers together.

Only heads are read to choose what goes on the page; whole batches only for those on it. A finished batch never changes
in what its summary shows, so its summary is kept. When it was created belongs to its identity: runs are numbered from 1
again after the retention period.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from cj_stream.agents.batches import BatchesAgent
from cj_stream.domain.batch import Batch
from cj_stream.domain.states import BatchState
from cj_stream.tables.batches import BatchRows
from cj_stream.views.routing import Routing
from cj_stream.views.summary import Place, summary

SUMMARIES_KEPT = 2000
TURN = 50
"""Heads read before other work of the event loop gets its turn."""

Answer = dict[str, Any]


class Listing:
    """Lists batches, newest first."""

    def __init__(self, routing: Routing, batches: BatchesAgent, rows: BatchRows) -> None:
        self._routing = routing
        self._batches = batches
        self._rows = rows
        self._finished: dict[tuple[str, int, float], Answer] = {}

    async def local(self, state: BatchState | None, limit: int) -> Answer:
        """Return the batches of this worker; it counts itself as missing while a partition of it is not open."""
        heads = [found async for found in self._heads() if state is None or found[1].state is state]
        heads.sort(key=lambda found: (found[1].control.created_at, found[1].key), reverse=True)
        shown = [await self._summary(partition, head) for partition, head in heads[:limit]]
        url = self._routing.own_url
        return {
            "batches": [line for line in shown if line is not None],
            "workers_asked": 1,
            "workers_missing": [] if self._routing.all_open() else [url],
        }

    async def everywhere(self, state: BatchState | None, limit: int) -> Answer:
        """Return the batches of all workers, and which of the workers did not answer in full."""
        own = self._routing.own_url
        others = [url for url in self._routing.workers() if url != own]
        query = {"scope": "local", "limit": str(limit), **({"state": state.value} if state else {})}
        answers = await asyncio.gather(
            self.local(state, limit), *(self._routing.get_json(url, "/batches", query) for url in others)
        )
        return _merged(zip([own, *others], answers, strict=True), limit)

    async def _heads(self) -> AsyncIterator[tuple[int, Batch]]:
        for partition in sorted(self._routing.opener.opened_at):
            # A partition may be taken away at any await; reading it then would open its database again.
            if not self._routing.is_open(partition):
                continue
            live = {batch.key: batch for batch in self._batches.partitions[partition]}
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
        live = {batch.key: batch for batch in self._batches.partitions[partition]}
        batch = live.get(head.key) or self._rows.load(partition, *head.key)
        if batch is None:
            return None
        line = summary(batch, Place(partition, self._routing.own_url))
        if batch.finished:
            if len(self._finished) >= SUMMARIES_KEPT:
                self._finished.clear()
            self._finished[identity] = line
        return line


def _merged(answers: Iterable[tuple[str, Any]], limit: int) -> Answer:
    lines: list[Answer] = []
    missing: set[str] = set()
    asked = 0
    for url, answer in answers:
        asked += 1
        if isinstance(answer, dict) and isinstance(answer.get("batches"), list):
            lines += answer["batches"]
            missing.update(answer.get("workers_missing", ()))
        else:
            missing.add(url)
    lines.sort(key=lambda line: (line["created_at"], line["batch_id"], line["run"]), reverse=True)
    return {"batches": lines[:limit], "workers_asked": asked, "workers_missing": sorted(missing)}
