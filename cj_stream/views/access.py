"""Who may read the views, and how much anybody may send them.

Reading needs no token where only this machine can reach the views and none is set. Wherever else it does: the views
hold the ids of people's work and what was said of it. The page that holds none of this, and the health, stay open.
"""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web

from cj_stream.engine.address import stays_here
from cj_stream.engine.web_answers import Page
from cj_stream.operations.settings import Settings
from cj_stream.views.parameters import check_reader

log = structlog.get_logger(__name__)

BODY_LIMIT = 64 * 1024
"""Bytes of a request, decompressed: more than any command has."""


class Access:
    """What the settings of one worker say of who may read."""

    def __init__(self, settings: Settings) -> None:
        given = (settings.reader_token, settings.operator_token)
        self._tokens = [token for token in given if token is not None and token.get_secret_value()]
        self._needed = settings.reader_token is not None or not stays_here(settings.web_host)
        if self._needed and not self._tokens:
            log.warning("nobody can read the views: set CJ_READER_TOKEN", web_host=settings.web_host)

    @property
    def headers(self) -> dict[str, str]:
        """The headers with which this worker reads the pages of another."""
        return {"Authorization": f"Bearer {self._tokens[0].get_secret_value()}"} if self._tokens else {}

    def readers(self, page: Page) -> Page:
        """Return ``page`` for those only who may read."""

        async def answer(request: web.Request, **named: Any) -> web.Response:
            if self._needed:
                check_reader(self._tokens, request.headers.get("Authorization", ""))
            return await page(request, **named)

        return limited(answer)


def limited(page: Page) -> Page:
    """Return ``page`` so that of a larger request than `BODY_LIMIT` no more is read, and 413 is the answer."""

    async def answer(request: web.Request, **named: Any) -> web.Response:
        if (request.content_length or 0) > BODY_LIMIT:
            raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, request.content_length or 0)
        return await page(request.clone(client_max_size=BODY_LIMIT), **named)

    return answer
