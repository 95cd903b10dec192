"""Callbacks of the LLM provider: one comparison's verdict or failure, read tolerantly.

To count a verdict takes who is meant (a correlation id, or the complete echo), a winner and a confidence; to count a
failure, an error code. Nothing else can cost a verdict: a field that nobody needs is read past when it is wrong.

A callback as the provider writes it is read in a quarter of the time: `read_plain` takes only what `read_leniently`
takes, with the same result, and leaves everything else to it. Test: ``test_contract_plain_callbacks.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from pydantic import BeforeValidator, Field

from cj_stream.contracts.envelope import read_object
from cj_stream.contracts.fields import (
    IDENTIFIER_LIMIT,
    Identifier,
    Label,
    Number,
    Timestamp,
    Unneeded,
    WireModel,
    WireUUID,
    readable_identifier,
    readable_uuid,
)
from cj_stream.contracts.receipts import read_receipt
from cj_stream.contracts.refusal import Refused, validated
from cj_stream.contracts.winners import JUDGE_GAVE_NO_WINNER, slot_or_error
from cj_stream.domain.records import Receipt, Slot
from cj_stream.engine.texts import clip

JUSTIFICATION_KEPT = 2_000
"""Characters kept of a justification."""
JUSTIFICATION_LIMIT = 64 * 1024
"""Bytes of a justification, in UTF-8; a verdict with a longer one is refused."""
CALLBACK_MESSAGE_CHARACTERS = 500
ERROR_CODE_LIMIT = 255


class Callback(Struct, frozen=True, kw_only=True):
    """One comparison's answer in its normal form: either ``winner`` or ``error_code`` is set.

    Match on ``correlation_id``; it is ``None`` only where the message carried none, and then the echoed ids
    (``batch_id``, ``essay_a_id``, ``essay_b_id``) are all there. ``confidence`` is 1.0-5.0 and never a basis for a
    score. ``provider`` and ``model`` are empty where they could not be read. ``published_at`` is the provider's clock.
    """

    correlation_id: UUID | None
    winner: Slot | None
    confidence: float | None
    justification: str | None
    error_code: str | None
    error_message: str | None
    provider: str
    model: str
    essay_a_id: str | None
    essay_b_id: str | None
    batch_id: str | None
    published_at: datetime | None
    receipt: Receipt | None = None


def _short_code(value: object) -> object:
    return clip(value, ERROR_CODE_LIMIT) if isinstance(value, str) else value


class _ErrorDetail(WireModel):
    """Its ``correlation_id`` is the error's own, at times all zeros: never matched on."""

    error_code: Annotated[Identifier, BeforeValidator(_short_code)]
    message: Unneeded[str] = None


class _Result(WireModel):
    correlation_id: WireUUID | None = None
    winner: str | None = None
    error_detail: _ErrorDetail | None = None
    request_metadata: dict[str, Any] | None = None
    confidence: Any = None
    justification: Unneeded[str] = None
    provider: Unneeded[Label] = None
    model: Unneeded[Label] = None


class _Verdict(WireModel):
    confidence: Annotated[Number, Field(ge=1, le=5)]


class _Message(WireModel):
    """The envelope, of which a callback needs little: its correlation id only where ``data`` has none."""

    data: dict[str, Any]
    correlation_id: Any = None
    event_timestamp: Unneeded[Timestamp] = None


class _Addressed(WireModel):
    correlation_id: WireUUID


class _Echo(NamedTuple):
    essay_a_id: str | None
    essay_b_id: str | None
    batch_id: str | None


class _Outcome(NamedTuple):
    winner: Slot | None = None
    confidence: float | None = None
    justification: str | None = None
    error_code: str | None = None
    error_message: str | None = None


def read_callback(value: bytes | None) -> Callback:
    """Return the callback in ``value``.

    Raises ``Refused``, with the correlation id where it was readable; such a refusal is never answerable.
    """
    document = read_object(value)
    return read_plain(document) or read_leniently(document)


def read_leniently(document: Mapping[str, Any]) -> Callback:
    """Return the callback in a parsed message, whatever the spelling. Raises ``Refused`` like `read_callback`."""
    try:
        return _normal_form(validated(_Message, document, ""))
    except Refused as refused:
        raise refused.addressed(None, _readable_id(document), is_request=False) from None


def _normal_form(message: _Message) -> Callback:
    result = validated(_Result, message.data, "data")
    echo = _echo(result.request_metadata or {})
    outcome = _outcome(result)
    return Callback(
        correlation_id=_correlation_id(message, result, echo),
        winner=outcome.winner,
        confidence=outcome.confidence,
        justification=outcome.justification,
        error_code=outcome.error_code,
        error_message=outcome.error_message,
        provider=result.provider or "",
        model=result.model or "",
        essay_a_id=echo.essay_a_id,
        essay_b_id=echo.essay_b_id,
        batch_id=echo.batch_id,
        published_at=message.event_timestamp,
        receipt=read_receipt(message.data, failed=outcome.error_code is not None),
    )


def _outcome(result: _Result) -> _Outcome:
    error = result.error_detail
    winner = None if result.winner is None else slot_or_error(result.winner)
    if winner in ("A", "B"):
        if error is not None:
            detail = "data has a winner and an error_detail: send exactly one of them."
            raise Refused("winner_and_error", detail, field="data.error_detail")
        return _verdict(winner, result)
    if error is not None:
        return _Outcome(
            error_code=error.error_code, error_message=clip(error.message or "", CALLBACK_MESSAGE_CHARACTERS)
        )
    if winner == "error":
        message = clip(result.justification or "The judge named no winner.", CALLBACK_MESSAGE_CHARACTERS)
        return _Outcome(error_code=JUDGE_GAVE_NO_WINNER, error_message=message)
    raise Refused(
        "neither_winner_nor_error",
        "data has neither a winner nor an error_detail: send exactly one of them.",
        field="data.winner",
    )


def _verdict(winner: Slot, result: _Result) -> _Outcome:
    stated = {} if result.confidence is None else {"confidence": result.confidence}
    return _Outcome(
        winner=winner,
        confidence=validated(_Verdict, stated, "data").confidence,
        justification=kept_justification(result.justification, "data.justification"),
    )


def kept_justification(justification: str | None, field: str) -> str:
    """Return what is kept of a verdict's justification; none is an empty one.

    Raises ``Refused`` for one beyond all measure: no judge wrote it, and it would be kept twenty thousand times.
    """
    text = justification or ""
    size = len(text.encode())
    if size > JUSTIFICATION_LIMIT:
        detail = f"{field} has {size} bytes, at most {JUSTIFICATION_LIMIT} are taken: send a shorter one."
        raise Refused("out_of_range", detail, field=field)
    return clip(text, JUSTIFICATION_KEPT)


def _correlation_id(message: _Message, result: _Result, echo: _Echo) -> UUID | None:
    if result.correlation_id is not None:
        return result.correlation_id
    if message.correlation_id is not None:
        return validated(_Addressed, {"correlation_id": message.correlation_id}, "").correlation_id
    if None in echo:
        raise Refused(
            "missing_correlation_id",
            "No correlation id and no complete echo of the request's metadata: set data.correlation_id.",
            field="data.correlation_id",
        )
    return None


def _echo(metadata: Mapping[str, Any]) -> _Echo:
    return _Echo(*(readable_identifier(metadata.get(key)) for key in ("essay_a_id", "essay_b_id", "bos_batch_id")))


def _readable_id(document: Mapping[str, Any]) -> UUID | None:
    data = document.get("data")
    own = data.get("correlation_id") if isinstance(data, dict) else None
    return readable_uuid(own if own is not None else document.get("correlation_id"))


_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=IDENTIFIER_LIMIT)]
_MICROSECONDS = len("2026-01-31T23:59:59.999999Z")
"""Characters of a time with microseconds: of more digits one reader rounds what the other cuts off."""


class _PlainEcho(Struct):
    essay_a_id: _Name | None = None
    essay_b_id: _Name | None = None
    bos_batch_id: _Name | None = None


class _PlainError(Struct):
    error_code: Annotated[str, Meta(min_length=1, max_length=ERROR_CODE_LIMIT)]
    message: Annotated[str, Meta(max_length=CALLBACK_MESSAGE_CHARACTERS)] | None = None


class _PlainData(Struct):
    correlation_id: UUID
    winner: Literal["Essay A", "Essay B"] | None = None
    error_detail: _PlainError | None = None
    request_metadata: _PlainEcho | None = None
    confidence: Annotated[float, Meta(ge=1, le=5)] | None = None
    justification: Annotated[str, Meta(max_length=JUSTIFICATION_KEPT)] | None = None
    provider: Annotated[str, Meta(max_length=IDENTIFIER_LIMIT)] | None = None
    model: Annotated[str, Meta(max_length=IDENTIFIER_LIMIT)] | None = None


class _PlainMessage(Struct):
    data: _PlainData
    event_timestamp: datetime | None = None


_PLAIN_SLOTS: dict[str, Slot] = {"Essay A": "A", "Essay B": "B"}
_NO_ECHO = _PlainEcho()


def read_plain(document: Mapping[str, Any]) -> Callback | None:
    """Return the callback in a parsed message in the provider's own spelling, ``None`` for every other message.

    ``None`` says nothing about the message: `read_leniently` may take it.
    """
    try:
        message = msgspec.convert(document, _PlainMessage)
    except msgspec.ValidationError:
        return None
    data, published_at = message.data, message.event_timestamp
    echo, error = data.request_metadata or _NO_ECHO, data.error_detail
    code = error.error_code if error else None
    if not all(map(_is_plain, (echo.essay_a_id, echo.essay_b_id, echo.bos_batch_id, code))):
        return None
    if published_at and (published_at.tzinfo is not UTC or len(document["event_timestamp"]) > _MICROSECONDS):
        return None
    if (error is None) != (data.winner is not None) or (error is None) != (data.confidence is not None):
        return None
    return Callback(
        correlation_id=data.correlation_id,
        winner=_PLAIN_SLOTS[data.winner] if data.winner else None,
        confidence=data.confidence,
        justification=None if error else data.justification or "",
        error_code=code,
        error_message=error.message or "" if error else None,
        provider=data.provider or "",
        model=data.model or "",
        essay_a_id=echo.essay_a_id,
        essay_b_id=echo.essay_b_id,
        batch_id=echo.bos_batch_id,
        published_at=published_at,
        receipt=read_receipt(document["data"], failed=error is not None),
    )


def _is_plain(name: str | None) -> bool:
    return name is None or (name.isprintable() and not name.isspace())
