"""The HTTP client of the web views: what every command that asks about a batch goes through."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from cj_stream.cli.shared.first_answer import FirstAnswer, NobodyAnswersError
from cj_stream.engine.foreign_answers import (
    VIEW_LIMIT,
    body_of,
)

Answer = dict[str, Any]
Reply = tuple[int, Answer, float]
"""Status, JSON, and the seconds to wait before asking again."""
TIMEOUT_SECONDS = 30.0
OPENING_SECONDS = 20.0
"""How long a partition may take to open, before the 503 is given to the caller."""
_PAGE = 1000
_NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError)
NOT_FOUND, _UNAVAILABLE, _FIRST_ERROR = 404, 503, 400


# What the views advise to those who speak HTTP, in the words of the command line, by the code of the error.
_ADVICE = {
    "wrong_token": "Set CJ_OPERATOR_TOKEN to the token of the workers; `cj-stream dev` does so for this folder.",
    "no_reader": "Set CJ_READER_TOKEN to that of the workers.",
    "no_effect": "See what can be done: cj-stream explain BATCH.",
    "not_standing": "See which partitions do: cj-stream partitions list.",
    "loses_events": "To accept that: --accept-loss.",
    "behind_unknown": "Name the offset: --behind OFFSET.",
}


class ViewError(Exception):
    """The views did not do what was asked. The message says what was wrong, where, and what to do."""

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, advice: str | None = None
    ) -> None:
        super().__init__(f"{message} {_ADVICE.get(code or '', advice or '')}".rstrip())
        self.status = status
        """HTTP status of the answer, None when nobody answered."""
        self.code = code

    @property
    def is_unknown_batch(self) -> bool:
        """Whether there is no such batch (yet)."""
        return self.status == NOT_FOUND


class ViewsClient:
    """The views of any worker: each of them knows where a batch lives.

    ``urls`` are base addresses of workers, asked in turn until one answers. Use it as ``async with``. Every method
    returns the JSON of the view and raises `ViewError`; a partition that is being opened is waited for. ``token`` goes
    out with commands, ``reader`` with everything that is only read: several may be asked before one answers. ``say`` is
    called with what is waited for, once for each wait.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: str | None = None,
        reader: str | None = None,
        opening_seconds: float = OPENING_SECONDS,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.urls = [url.rstrip("/") for url in urls]
        self._tokens = {"GET": reader, "POST": token}
        self._opening_seconds = opening_seconds
        self._say = say
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def batches(
        self, state: str | None = None, limit: int = 100, after: str | None = None, **wanted: str
    ) -> Answer:
        """Return a page of the batches of all workers: the first, or the one ``after`` the ``next`` of another.

        ``wanted`` names a ``user``, or an ``essay``, whose batches these are.
        """
        query = {"limit": str(limit), **wanted} | ({"state": state} if state else {})
        query |= {"after": after} if after else {}
        return await self._ask("GET", f"/batches?{URL.build(query=query).raw_query_string}")

    async def all_batches(self, state: str | None = None, **wanted: str) -> Answer:
        """Return every page of `batches` as one: complete when each of them was."""
        answer = page = await self.batches(state, _PAGE, **wanted)
        while page["next"]:
            page = await self.batches(state, _PAGE, page["next"], **wanted)
            complete = answer["complete"] and page["complete"]
            answer = {**page, "batches": answer["batches"] + page["batches"], "complete": complete}
        return answer

    async def batch(self, batch_id: str) -> Answer:
        """Return the newest run of a batch."""
        return await self._ask("GET", _path(batch_id))

    async def result(self, batch_id: str) -> Answer:
        """Return the ranking as it stands."""
        return await self._ask("GET", _path(batch_id, "result"))

    async def explain(self, batch_id: str) -> Answer:
        """Return what a batch is waiting for."""
        return await self._ask("GET", _path(batch_id, "explain"))

    async def verdicts(self, batch_id: str, run: int) -> list[Answer]:
        """Return every judged comparison of a run, in the order of planning."""
        rows: dict[int, Answer] = {}  # a verdict that comes between two pages moves rows to the next one
        offset, total = 0, 1
        while offset < total:
            query = f"?run={run}&status=JUDGED&offset={offset}&limit={_PAGE}"
            page = await self._ask("GET", _path(batch_id, "comparisons") + query)
            rows |= {row["index"]: row for row in page["comparisons"]}
            offset, total = offset + _PAGE, page["total"]
        return [rows[index] for index in sorted(rows)]

    async def error_counts(self, batch_id: str) -> dict[str, int]:
        """Return how many comparisons failed with which error code, the most frequent first."""
        failed = (await self._ask("GET", _path(batch_id, "comparisons") + "?status=FAILED&limit=1000"))["comparisons"]
        return dict(Counter(str(row["error_code"]) for row in failed).most_common())

    async def command(self, action: str, batch_id: str, reason: str | None = None) -> Answer:
        """Have a batch cancelled, retried or finalized."""
        return await self._ask("POST", _path(batch_id, action), {"reason": reason} if reason else {})

    async def standing_partitions(self) -> Answer:
        """Return the partitions that stand, of all workers."""
        return await self._ask("GET", "/partitions")

    async def step_over(self, topic: str, partition: int, body: Answer) -> Answer:
        """Have the owner of a partition go on behind the batch that it stands at."""
        return await self._ask("POST", f"/partitions/{quote(topic, safe='')}/{partition}/step-over", body)

    def _bearer(self, method: str) -> dict[str, str]:
        token = self._tokens[method]
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def _ask(self, method: str, path: str, body: Answer | None = None) -> Answer:
        deadline, said = time.monotonic() + self._opening_seconds, False
        while True:
            status, answer, retry_after = await self._first_answer(method, path, self._bearer(method), body)
            if status == _UNAVAILABLE and time.monotonic() + retry_after < deadline:
                if not said:
                    said = True
                    self._say(f"{_error(status, answer, path)} Asking for up to {self._opening_seconds:g} s.")
                await asyncio.sleep(retry_after)
                continue
            if status >= _FIRST_ERROR:
                raise _error(status, answer, path)
            return answer

    async def _first_answer(
        self, method: str, path: str, headers: Mapping[str, str] | None, body: Answer | None
    ) -> Reply:
        """Return the reply of the first worker that answers; what changes something is sent to one of them only."""
        if method == "GET":
            return await self._first(lambda base: self._request(method, base + path, headers, body))
        if len(self.urls) > 1:
            await self._first(lambda base: self._request("GET", f"{base}/healthz/live", None, None))
        return await self._sent(method, path, headers, body)

    async def _sent(self, method: str, path: str, headers: Mapping[str, str] | None, body: Answer | None) -> Reply:
        try:
            return await self._request(method, self.urls[0] + path, headers, body)
        except _NO_ANSWER as error:
            raise ViewError(
                f"{self.urls[0]} gave no answer ({_why(error)}). It may have taken the command: look at the batch."
            ) from error

    async def _first(self, ask: Callable[[str], Awaitable[Reply]]) -> Reply:
        """Return the first answer; who gave it is asked first from then on."""
        first = FirstAnswer(ask, _NO_ANSWER, _why, self._say_silent)
        try:
            base, reply = await first.of(self.urls)
        except NobodyAnswersError as error:
            raise ViewError(
                f"no worker answers ({error}): start one (cj-stream dev), or give its address with --url"
            ) from error
        self.urls = [base, *(url for url in self.urls if url != base)]
        return reply

    def _say_silent(self, who: str) -> None:
        self._say(f"No answer yet from {who}: waiting for up to {TIMEOUT_SECONDS:g} s.")

    async def _request(self, method: str, url: str, headers: Mapping[str, str] | None, body: Answer | None) -> Reply:
        if self._session is None:
            raise RuntimeError("use ViewsClient as `async with`")
        asking = self._session.request(
            method, URL(url, encoded=True), headers=headers, json=body, allow_redirects=False
        )
        async with asking as response:
            found = await body_of(response, VIEW_LIMIT)
            try:
                answer = json.loads(found)
            except (ValueError, RecursionError):
                answer = None
            wait = response.headers.get("Retry-After", "1")
            return (
                response.status,
                answer if isinstance(answer, dict) else {},
                float(wait) if wait.isdecimal() else 1.0,
            )


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or "no connection"
    return str(error) or type(error).__name__


def _path(batch_id: str, view: str = "") -> str:
    # The id is anybody's text: quoted whole, it stays one segment of the path. Dots alone would be taken out of it.
    segment = quote(batch_id, safe="")
    return f"/batches/{segment.replace('.', '%2E') if not segment.strip('.') else segment}" + (view and f"/{view}")


def _error(status: int, answer: Answer, path: str) -> ViewError:
    error = answer.get("error")
    if isinstance(error, dict):
        advice = str(error.get("advice") or "")
        return ViewError(str(error.get("message")), status=status, code=str(error.get("code")), advice=advice)
    return ViewError(f"{path} answered {status}: is this the address of a worker?", status=status)
