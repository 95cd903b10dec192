"""What an endpoint means that answers with an error: wait, count it as failed, send something else, or give up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cj_stream.contracts.envelope import read_object
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.texts import clip
from cj_stream.gateway.judges import PausedError, UnavailableError
from cj_stream.gateway.models.connection import ANSWER_LIMIT, Heard
from cj_stream.gateway.models.forms import NoDecisionError
from cj_stream.gateway.models.rates import wait_in

SEARCHED = 500
"""Characters of an error's message that are searched and told."""
REPEATED = 24
"""Characters in a row that make a part of a message a repetition of the prompt."""
_OK, _SERVER_ERROR = 200, 500
_UNACCEPTED = (400, 422)
_KEY_REFUSED, _UNPAID, _FORBIDDEN, _ABSENT, _TOO_LATE, _TOO_LARGE, _TOO_MANY = 401, 402, 403, 404, 408, 413, 429
_BUSY = (_TOO_LATE, 409, 425)
_QUOTA = ("insufficient_quota", "billing", "credit balance", "quota exceeded for the month")
_FILTERED = ("content_filter", "content_policy", "content management policy", "safety")
_LONG = ("context_length", "context length", "context window", "too long", "too many tokens", "maximum context")


@dataclass(frozen=True)
class Complaint:
    """What an error says: the parameter it names in a field of its own, and its message."""

    parameter: str | None
    code: str
    message: str


class UnacceptedError(Exception):
    """The endpoint did not take the request as it was; the complaint may name what it did not take."""

    def __init__(self, complaint: Complaint) -> None:
        super().__init__(complaint.message)
        self.complaint = complaint


def hidden(message: str, prompt: str, key: str) -> str:
    """Return a message without the key and without what it repeats of the prompt: essays are nobody else's to read."""
    message = message.replace(key, "[key]") if key else message
    kept: list[str] = []
    place = 0
    while place < len(message):
        end = place + REPEATED
        if end <= len(message) and message[place:end] in prompt:
            while end < len(message) and message[place : end + 1] in prompt:
                end += 1
            kept.append("[text]")
            place = end
        else:
            kept.append(message[place])
            place += 1
    return "".join(kept)


def document_of(heard: Heard, now: float, hide: Callable[[str], str]) -> dict[str, Any]:
    """Return the document of a good answer; ``now`` in seconds since the epoch, ``hide`` cleans an error's message.

    Raises PausedError, UnavailableError, UnacceptedError, and NoDecisionError with the code of what cannot be helped.
    """
    try:
        document = read_object(heard.body, ANSWER_LIMIT)
    except Refused as refused:
        if heard.status == _OK:
            raise NoDecisionError(
                "INVALID_RESPONSE", f"the endpoint's answer is unreadable: {refused.reason}"
            ) from None
        document = {}
    status = heard.status if heard.status != _OK else _status_inside(document)
    if status != _OK:
        raise _meaning(status, heard.headers, _complaint(document, hide), now)
    return document


def _status_inside(document: Mapping[str, Any]) -> int:
    """Return the status of an error that comes as a good answer, as some routers send them."""
    error = document.get("error")
    if not error:
        return _OK
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else _SERVER_ERROR  # noqa: PLR2004 -- HTTP's errors


def _meaning(status: int, headers: Mapping[str, str], complaint: Complaint, now: float) -> Exception:
    told = f"HTTP {status} {complaint.code}: {complaint.message}".strip(" :")
    words = f"{complaint.code} {complaint.message}".lower()
    if status == _UNPAID or (status in (400, _FORBIDDEN, _TOO_MANY) and _any(_QUOTA, words)):
        return NoDecisionError("QUOTA_EXCEEDED", told)
    if status == _TOO_MANY:
        return PausedError(wait_in(headers, now), told)
    if status >= _SERVER_ERROR or status in _BUSY:
        return UnavailableError(told, sent=True)
    if status in _UNACCEPTED and not _any(_LONG + _FILTERED, words):
        return UnacceptedError(complaint)
    return NoDecisionError(_code(status, words), told)


def _code(status: int, words: str) -> str:
    if status in (_KEY_REFUSED, _FORBIDDEN, _ABSENT) or status < 400:  # noqa: PLR2004 -- below: a redirect
        return "CONFIGURATION_ERROR"
    return "LLM_CONTENT_FILTER" if _any(_FILTERED, words) else "VALIDATION_ERROR"


def _any(parts: tuple[str, ...], words: str) -> bool:
    return any(part in words for part in parts)


def _complaint(document: Mapping[str, Any], hide: Callable[[str], str]) -> Complaint:
    error = document.get("error", document)
    fields: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    message = next((text for name in ("message", "detail", "error") if isinstance(text := fields.get(name), str)), "")
    parameter, code = fields.get("param"), fields.get("code") or fields.get("type")
    return Complaint(
        hide(clip(parameter, 100)) if isinstance(parameter, str) else None,
        hide(clip(code, 100)) if isinstance(code, str) else "",
        hide(clip(message, SEARCHED)),
    )
