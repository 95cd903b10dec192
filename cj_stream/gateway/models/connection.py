"""The HTTP below both SDKs: no redirect is followed, no answer is read beyond its limit, every end has a meaning."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cj_stream.gateway.judges import UnavailableError

if TYPE_CHECKING:
    import httpx2

ANSWER_LIMIT = 1024 * 1024
"""Bytes of an endpoint's answer that are read."""
CONNECT_SECONDS = 10.0
CONNECTIONS = 200


@dataclass(frozen=True)
class Heard:
    """An answer: ``headers`` by names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TooLargeError(Exception):
    """The answer is larger than what is read, or packed, so that its size cannot be told."""


def http_client(timeout_seconds: float) -> httpx2.AsyncClient:
    """Return the client for an SDK; proxies of the environment are used."""
    import httpx2  # noqa: PLC0415 -- comes with the SDKs

    return httpx2.AsyncClient(
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
        limits=httpx2.Limits(max_connections=CONNECTIONS),
        event_hooks={"response": [_bound]},
    )


def heard(response: Any) -> Heard:
    """Return an SDK's HTTP response as plain values."""
    return Heard(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)


async def _bound(response: httpx2.Response) -> None:
    import httpx2  # noqa: PLC0415 -- loaded already

    if response.headers.get("content-encoding", "identity") != "identity":
        raise TooLargeError("the endpoint's answer is packed, although it was asked not to be")
    body = response.stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            assert isinstance(body, httpx2.AsyncByteStream)  # noqa: S101 -- an asynchronous client has no other
            async for chunk in body:
                read += len(chunk)
                if read > ANSWER_LIMIT:
                    raise TooLargeError(f"the endpoint's answer has more than {ANSWER_LIMIT} bytes")
                yield chunk

        async def aclose(self) -> None:
            assert isinstance(body, httpx2.AsyncByteStream)  # noqa: S101 -- an asynchronous client has no other
            await body.aclose()

    response.stream = Bounded()


def failure_of(error: Exception) -> Exception:
    """Return what a connection that failed means: UnavailableError, or the TooLargeError behind it."""
    import httpx2  # noqa: PLC0415 -- loaded already

    never_left = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, TooLargeError):
            return cause
    sent = not any(isinstance(cause, never_left) for cause in causes)
    # The texts of these errors name addresses and files at most, but only their names are sure to.
    why = " < ".join(type(cause).__name__ for cause in causes)
    return UnavailableError(f"the endpoint could not be asked: {why}", sent=sent)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
