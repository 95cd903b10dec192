"""Which worker serves a batch, and asking it.

A batch is served where its home partition is. A request that comes to another worker goes one hop further; it then
carries a mark and is never passed on again, so two workers with stale knowledge cannot send it to and fro.

Hazard in Faust 0.15.3: its own ``table_route`` has no limit of hops and no timeout, drops the body and passes on every
header of the client (``app/router.py`` 77-90).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from yarl import URL

from cj_stream.engine.foreign_answers import (
    VIEW_LIMIT,
    RedirectedError,
    body_of,
)
from cj_stream.engine.opening import Opener
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.web_answers import (
    SAFE_HEADERS,
    ApiError,
    Page,
    unavailable,
)

ROUTED = "X-CJ-Routed"
HOP_SECONDS = 5.0
_TIMEOUT = aiohttp.ClientTimeout(total=HOP_SECONDS, connect=2.0)
_PASSED_ON = ("Authorization", "Content-Type")
_PASSED_BACK = ("Content-Type", "Retry-After", "WWW-Authenticate")
_NOT_REACHED = (aiohttp.ClientError, TimeoutError)


@dataclass(frozen=True)
class Routing:
    """Knows the partitions of all workers, as told at the last assignment, and which of ours are open.

    ``app`` is the Faust app; ``changelog`` the topic that is distributed over the workers as the batches are;
    ``reading`` are the headers with which this worker reads the pages of others.
    """

    app: Any
    opener: Opener
    partitions: int
    changelog: str
    reading: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_url(self) -> str:
        """Base URL of this worker, as other workers know it."""
        return str(self.app.conf.canonical_url)

    def workers(self) -> dict[str, list[int]]:
        """Return the base URL of every worker of the group, and its partitions; this worker is always in it."""
        told = self.app.assignor.table_metadata(self.changelog)
        return {self.own_url: [], **{url: list(topics.get(self.changelog, ())) for url, topics in told.items()}}

    def is_open(self, partition: int) -> bool:
        """Return whether this worker serves the partition now."""
        return partition in self.opener.opened_at

    def all_open(self) -> bool:
        """Return whether this worker serves every partition that was assigned to it."""
        return not self.app.rebalancing and all(map(self.is_open, self.workers()[self.own_url]))

    def home(self, batch_id: str) -> int:
        """Return the home partition of a batch."""
        return home_partition(batch_id, self.partitions)

    def at_home(self, subpage: str, page: Page) -> Page:
        """Return ``page`` so that it is answered by the worker that serves the batch.

        ``subpage`` follows the batch id in its URL. The page raises `ApiError` 503 when nobody serves the batch now.
        """

        async def routed(request: web.Request, batch_id: str) -> web.Response:
            partition = self.home(batch_id)
            if self.is_open(partition):
                return await page(request, batch_id)
            owner = self._owner(request, partition)
            # Built anew, not copied: of the client's target only the decoded id and the query get through.
            path = f"{owner.rstrip('/')}/batches/{quote(batch_id, safe='')}{subpage}"
            return await self._ask_owner(request, URL(path, encoded=True).with_query(request.query))

        return routed

    async def get_json(self, worker: str, path: str, query: Mapping[str, str]) -> Any:
        """Return what another worker answers, or None when it does not answer with JSON and 200 in time."""
        url = URL(worker.rstrip("/") + path, encoded=True).with_query(query)
        try:
            async with self._ask("GET", url, self.reading) as response:
                body = await body_of(response, VIEW_LIMIT)
                return json.loads(body) if response.status == web.HTTPOk.status_code else None
        except (*_NOT_REACHED, ValueError, RecursionError):
            return None

    async def pass_on(self, request: web.Request, worker: str) -> web.Response | None:
        """Return what another worker answers to the same request, None when it does not."""
        try:
            return await self._ask_owner(request, URL(worker.rstrip("/") + request.raw_path, encoded=True))
        except ApiError:
            return None

    def _owner(self, request: web.Request, partition: int) -> str:
        owner = next((url for url, owned in self.workers().items() if partition in owned), None)
        if owner is None:
            raise unavailable("owner_unknown", f"No worker has partition {partition} yet: try again in a moment.")
        if owner == self.own_url or ROUTED in request.headers:
            message = f"{self.own_url} does not serve partition {partition} yet or any more: try again in a moment."
            raise unavailable("partition_not_open", message)
        return owner

    async def _ask_owner(self, request: web.Request, url: URL) -> web.Response:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        try:
            async with self._ask(request.method, url, headers, await request.read() or None) as response:
                back = {name: response.headers[name] for name in _PASSED_BACK if name in response.headers}
                body = await body_of(response, VIEW_LIMIT)
        except _NOT_REACHED as error:
            unsure = "" if request.method in ("GET", "HEAD") else " It may have taken the command: look at the batch."
            why = str(error) or type(error).__name__
            what_to_do = "try again in a moment."
            if isinstance(error, RedirectedError):
                what_to_do = "redirects are not followed; see to CJ_ADVERTISED_HOST and CJ_WEB_PORT of that worker."
            message = f"{url.origin()}, which serves the batch, gave no answer ({why}): {what_to_do}"
            raise unavailable("owner_not_reached", message + unsure) from error
        return web.Response(status=response.status, body=body, headers={**SAFE_HEADERS, **back})

    def _ask(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None) -> Any:
        headers = {**headers, ROUTED: "1"}
        return self.app.http_client.request(
            method, url, headers=headers, data=body, timeout=_TIMEOUT, allow_redirects=False
        )
