"""Answers of the views: JSON, and every error as ``{"error": {"code", "message"}}``, whoever raised it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

Page = Callable[..., Awaitable[web.Response]]
"""Answers a request; what the URL names comes as further arguments."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BAD_REQUEST, SERVER_ERROR = 400, 500
SAFE_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class ApiError(Exception):
    """Ends a request with an error: ``message`` says what was wrong, where, and what to do.

    ``advice`` says what to do to somebody who speaks HTTP; who shows the error elsewhere puts other words in its place.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None, *, advice: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.advice = advice
        self.headers = headers or {}


def bad_request(code: str, message: str) -> ApiError:
    """Return the error for a request that cannot be understood."""
    return ApiError(BAD_REQUEST, code, message)


def unavailable(code: str, message: str) -> ApiError:
    """Return the error for what will be possible again in a moment."""
    return ApiError(503, code, message, {"Retry-After": "1"})


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return ``value`` as a JSON response; a number that is not finite becomes null."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={**SAFE_HEADERS, **(headers or {})},
    )


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error of a handler, and those of aiohttp's router, into an error answer."""
    try:
        return await handler(request)
    except ApiError as error:
        return _error(error.status, error.code, str(error), error.headers, error.advice)
    except web.HTTPException as error:
        if error.status < BAD_REQUEST:
            raise
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        code = error.reason.lower().replace(" ", "_")
        return _error(error.status, code, f"{request.method} {request.path}: {error.reason}", allowed)
    except Exception:
        log.exception("a view failed", method=request.method, path=request.path)
        return _error(SERVER_ERROR, "internal_error", "The view failed: see the log of this worker and report it.")


def _error(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None, advice: str = ""
) -> web.Response:
    advised = {"advice": advice} if advice else {}
    return json_answer({"error": {"code": code, "message": message, **advised}}, status, headers)
