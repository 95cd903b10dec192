"""HTTP answers of others: so many bytes of each and no more, and nobody is asked whom an answer points to.

Hazard in aiohttp 3.14: ``ClientResponse.read`` takes a body of any size, decompressed, into memory; and a session
follows redirects unless told not to at each request, a POST as a GET without its body (``client.py``).

Test: ``test_foreign_answers.py``.
"""

from __future__ import annotations

import aiohttp
from yarl import URL

VIEW_LIMIT = 32 * 1024 * 1024
"""Bytes of an answer of a worker's views: more than its longest page has."""
_CHUNK_BYTES = 64 * 1024
_REDIRECTION = 3


class UnusableAnswerError(aiohttp.ClientError):
    """There is an answer, but not one to be read; the text says what it is, and whose."""


class AnswerTooLargeError(UnusableAnswerError):
    """The answer has more bytes than are taken."""


class RedirectedError(UnusableAnswerError):
    """The answer points somewhere else: the address that was asked is not the right one."""


async def body_of(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body, decompressed; of one with more than ``limit`` bytes little more is ever read.

    Ask with ``allow_redirects=False``. The texts of the errors name no more of an address than its origin.

    Raises:
        RedirectedError: the status is a redirect, whatever the body.
        AnswerTooLargeError: there are more than ``limit`` bytes.

    """
    refuse_redirect(response)
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit:
            response.close()
            origin = response.url.origin()
            raise AnswerTooLargeError(f"{origin} answers with more than {limit} bytes: no more are read")
    return bytes(body)


def refuse_redirect(response: aiohttp.ClientResponse) -> None:
    """Raise `RedirectedError` when the answer is a redirect."""
    if response.status // 100 == _REDIRECTION:
        origin = response.url.origin()
        raise RedirectedError(f"{origin} answers with a redirect ({response.status}) to {_target(response)}")


def _target(response: aiohttp.ClientResponse) -> str:
    try:
        target = response.url.join(URL(response.headers["Location"]))
    except (KeyError, ValueError):
        return "nowhere"
    return str(target.origin()) if target.host else f"a {target.scheme} address"
