"""The verdicts of a batch for another one that takes them over: on this worker, or asked of the one that has it.

Texts are named by their hashes, so whoever does not have a text learns nothing of it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from cj_stream.domain.batch import Batch
from cj_stream.domain.reuse import Judgements, judgements_of
from cj_stream.engine.dispatcher import PostponedError
from cj_stream.engine.web_answers import json_answer
from cj_stream.tables.batch_rows import BatchRows
from cj_stream.views.routing import Routing

PAUSE_SECONDS = 5.0


class JudgementsOfOthers:
    """Finds the verdicts that batches want to take over."""

    def __init__(self, rows: BatchRows, routing: Routing) -> None:
        self._rows = rows
        self._routing = routing

    async def find(self, batch: Batch) -> Judgements | None:
        """Return the verdicts that ``batch`` names, None when there are none.

        Raises `PostponedError` when the worker that has them does not answer.
        """
        source = batch.roster.policy.judging.reuse_judgements or ""
        if source == batch.batch_id:
            return self._stored(source, batch.run - 1)
        if self._routing.is_open(self._routing.home(source)):
            return self._stored(source, None)
        return await self._asked(source)

    async def page(self, _request: web.Request, batch_id: str) -> web.Response:
        """Answer with the verdicts of the newest run of a batch, null for an unknown one."""
        found = self._stored(batch_id, None)
        return json_answer({"judgements": None if found is None else msgspec.to_builtins(found)})

    def _stored(self, batch_id: str, run: int | None) -> Judgements | None:
        batch = self._rows.load(self._routing.home(batch_id), batch_id, run)
        return None if batch is None else judgements_of(batch)

    async def _asked(self, batch_id: str) -> Judgements | None:
        owners = self._routing.workers().items()
        home = self._routing.home(batch_id)
        owner = next((url for url, partitions in owners if home in partitions), None)
        path = f"/batches/{quote(batch_id, safe='')}/judgements"
        answer: Any = owner and await self._routing.get_json(owner, path, {})
        try:
            return msgspec.convert(answer["judgements"], Judgements | None)
        except (TypeError, KeyError, msgspec.ValidationError) as error:
            why = f"the worker that serves batch {batch_id!r}, whose verdicts are to be taken over, does not answer"
            raise PostponedError(why, PAUSE_SECONDS) from error
