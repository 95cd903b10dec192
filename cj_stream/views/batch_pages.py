"""The pages about batches, and the commands, as the worker answers them that serves the batch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from cj_stream.domain.batch import Batch
from cj_stream.domain.commands import objection
from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.records import ComparisonStatus
from cj_stream.engine.health import degraded
from cj_stream.engine.web_answers import (
    ApiError,
    Page,
    bad_request,
    json_answer,
    unavailable,
)
from cj_stream.views.comparisons_page import comparisons_page
from cj_stream.views.explanation import explanation
from cj_stream.views.listing import Listing, Wanted
from cj_stream.views.parameters import check_token, integer, member, reason_of, run_number
from cj_stream.views.place_in_list import PlaceInList
from cj_stream.views.result import result
from cj_stream.views.routing import HOP_SECONDS, Routing
from cj_stream.views.summary import Place, detail
from cj_stream.views.worker_parts import WorkerParts

LARGEST_PAGE = 1000
LARGEST_OFFSET = 10**8
ACKNOWLEDGE_SECONDS = HOP_SECONDS * 0.8
"""Shorter than a hop, so that the worker that was asked first still hears what became of it."""

_STATUSES = {status.name: status for status in ComparisonStatus}


@dataclass(frozen=True)
class _Found:
    """The run of a batch that a request asks for, in a partition of ours."""

    batch: Batch
    partition: int
    newest_run: int


class BatchPages:
    """The pages about the batches of one worker; ``routing`` finds the worker of the others."""

    def __init__(self, worker: WorkerParts, routing: Routing) -> None:
        self._worker = worker
        self._routing = routing
        self._conditions = worker.engine.conditions
        self._listing = Listing(routing, worker.partitions, worker.rows, self._conditions)

    async def list(self, request: web.Request) -> web.Response:
        """Answer with a page of the batches, of all workers or with ``scope=local`` of this one."""
        scope = request.query.get("scope", "all")
        if scope not in ("all", "local"):
            raise bad_request("bad_parameter", "scope must be one of all, local")
        wanted = Wanted.read(request.query)
        limit = integer(request.query, "limit", 100, least=1, most=LARGEST_PAGE)
        collect = self._listing.local if scope == "local" else self._listing.everywhere
        return json_answer(await collect(wanted, limit, PlaceInList.read(request.query.get("after"))))

    async def detail(self, request: web.Request, batch_id: str) -> web.Response:
        """Answer with everything small about a run of a batch."""
        found = self._find(request, batch_id)
        place = Place(found.partition, self._routing.own_url)
        return json_answer({**detail(found.batch, place, found.newest_run), "degraded": degraded(self._conditions)})

    async def comparisons(self, request: web.Request, batch_id: str) -> web.Response:
        """Answer with a page of the comparisons of a run."""
        found = self._find(request, batch_id)
        page = comparisons_page(
            found.batch,
            member(request.query, "status", _STATUSES),
            integer(request.query, "offset", 0, least=0, most=LARGEST_OFFSET),
            integer(request.query, "limit", 100, least=1, most=LARGEST_PAGE),
            partition=found.partition,
            correlation_ids=self._worker.correlation_ids,
        )
        return json_answer(page)

    async def result(self, request: web.Request, batch_id: str) -> web.Response:
        """Answer with the ranking from the newest fit, 409 when there is none."""
        batch = self._find(request, batch_id).batch
        ranked = result(batch)
        if ranked is None:
            message = f"Run {batch.run} of batch {batch_id!r} is {batch.state} and has no scores" + (
                ": it ended without a ranking." if batch.finished else " yet: ask again later."
            )
            raise ApiError(409, "no_scores", message)
        return json_answer(ranked)

    async def explain(self, request: web.Request, batch_id: str) -> web.Response:
        """Answer with why the batch stands where it stands."""
        found = self._find(request, batch_id)
        postponed = self._worker.dispatcher.postponed.get(found.batch.key)
        opened_at = self._worker.engine.opener.opened_at[found.partition]
        held_up = self._worker.provider.held_up(found.batch.roster.context.overrides)
        answer = explanation(found.batch, postponed, opened_at, held_up)
        return json_answer({**answer, "degraded": degraded(self._conditions)})

    def command(self, action: Action) -> Page:
        """Return the page that tells a batch to do ``action``."""

        async def at_home(request: web.Request, batch_id: str) -> web.Response:
            reason = reason_of(await request.read())
            why_not = objection(self._newest(batch_id), action)
            if why_not:
                advice = "Look at /batches/{id}/explain for what can be done."
                raise ApiError(409, "no_effect", f"{why_not}.", advice=advice)
            command = OperatorCommand(batch_id=batch_id, action=action, reason=reason)
            if action is Action.FORGET:
                await self._forget(command)
            else:
                await self._send(command)
            return json_answer({"accepted": action.value, "batch_id": batch_id}, 202)

        routed = self._routing.at_home(f"/{action}", at_home)

        async def page(request: web.Request, batch_id: str) -> web.Response:
            # Before the hop, and again after it: without the token nobody gets one worker to ask another.
            check_token(self._worker.settings.operator_token, request.headers.get("Authorization", ""))
            return await routed(request, batch_id)

        return page

    async def _forget(self, command: OperatorCommand) -> None:
        """Have every run deleted, the newest first, and keep nothing of the batch in the memory of this worker."""
        for _ in self._worker.rows.runs(self._routing.home(command.batch_id), command.batch_id):
            await self._send(command)
        self._worker.content.forget()
        self._listing.forget()

    def _newest(self, batch_id: str) -> Batch:
        batch = self._worker.partitions[self._routing.home(batch_id)].newest(batch_id)
        if batch is None:
            message = f"There is no batch {batch_id!r}: check the id, or whether its retention period is over."
            raise ApiError(404, "no_such_batch", message)
        return batch

    def _find(self, request: web.Request, batch_id: str) -> _Found:
        partition = self._routing.home(batch_id)
        newest, run = self._newest(batch_id), run_number(request.query)
        if run is None or run == newest.run:
            return _Found(newest, partition, newest.run)
        # A run starts only when the one before has ended, so the table has all others as they ended.
        batch = self._worker.rows.load(partition, batch_id, run)
        if batch is None:
            raise ApiError(404, "no_such_run", f"Batch {batch_id!r} has no run {run}: its newest is {newest.run}.")
        return _Found(batch, partition, newest.run)

    async def _send(self, command: OperatorCommand) -> None:
        """Put the command into the log of the batch, and wait for the broker."""
        delivered = self._worker.engine.forwarder.deliver(self._routing.home(command.batch_id), command)
        try:
            await asyncio.wait_for(delivered, ACKNOWLEDGE_SECONDS)
        except TimeoutError:
            message = "The broker has not acknowledged the command yet. It may still take effect: look at the batch."
            raise unavailable("not_acknowledged", message) from None
