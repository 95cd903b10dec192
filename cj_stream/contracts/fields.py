"""The kinds of value that travel in every message: identifiers, numbers, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from cj_stream.engine.texts import clip

IDENTIFIER_LIMIT = 255
LARGEST_INTEGER = 2**63 - 1
"""Counts beyond it fit into no row of the table."""


Value = TypeVar("Value")


def wire_time(moment: datetime) -> str:
    """Return ``moment`` as the platform writes it: UTC, microseconds where there are any, ``Z``.

    Raises ``ValueError`` for a time without zone: guessing one would shift it by hours.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone: give an aware datetime")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time lies outside the calendar in UTC") from error


def _without_braces(value: object) -> object:
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return value[1:-1]
    return value


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a boolean is no number")  # noqa: TRY004 - pydantic collects ValueError, not TypeError
    return value


def _named(text: str) -> str:
    if not text.strip():
        raise ValueError("an identifier must not be blank")
    if "\x00" in text:
        raise ValueError("an identifier must not contain NUL characters")
    return text


def _none_if_unreadable(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        return None


def _short(text: str) -> str:
    return clip(text, IDENTIFIER_LIMIT)


WireUUID = Annotated[UUID, BeforeValidator(_without_braces)]
"""A UUID in any spelling: upper case, without dashes, in braces."""
Timestamp = Annotated[datetime, AfterValidator(_in_utc)]
"""ISO 8601 with or without zone (none is read as UTC), or epoch seconds; always UTC once read."""
Identifier = Annotated[str, Field(max_length=IDENTIFIER_LIMIT), AfterValidator(_named)]
"""An id given by somebody else: a string, not blank, without NUL, at most 255 characters. Numbers are refused."""
Label = Annotated[str, AfterValidator(_short)]
"""A name that is shown and never matched on; cut to 255 characters."""
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_no_boolean)]
"""A finite number; numeric strings are accepted."""
Integer = Annotated[int, Field(le=LARGEST_INTEGER), BeforeValidator(_no_boolean)]
"""A whole number; numeric strings and 3.0 are accepted."""
Count = Annotated[Integer, Field(ge=0)]
Amount = Annotated[Number, Field(ge=0)]
Unneeded = Annotated[Value | None, WrapValidator(_none_if_unreadable)]
"""A field that nothing depends on: a value that cannot be read is read past, as ``None``."""


class WireModel(BaseModel):
    """Base of all wire models: unknown fields are ignored, values never change."""

    model_config = ConfigDict(extra="ignore", frozen=True)


_identifier: TypeAdapter[str] = TypeAdapter(Identifier)
_uuid: TypeAdapter[UUID] = TypeAdapter(WireUUID)
_amount: TypeAdapter[float] = TypeAdapter(Amount)


def readable_identifier(value: object) -> str | None:
    """Return ``value`` if it is an identifier, else ``None``."""
    return _readable(_identifier, value)


def readable_uuid(value: object) -> UUID | None:
    """Return ``value`` parsed if it is a UUID, else ``None``."""
    return _readable(_uuid, value)


def readable_amount(value: object) -> float | None:
    """Return ``value`` if it is a number of at least 0, else ``None``."""
    return _readable(_amount, value)


def _readable(adapter: TypeAdapter[Value], value: object) -> Value | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None
