"""What comes with a request to a view: query parameters, the token, and the body of a command."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeVar

import msgspec
from pydantic import SecretStr

from cj_stream.engine.web_answers import (
    ApiError,
    bad_request,
)

EnumT = TypeVar("EnumT", bound=Enum)

REASON_LIMIT = 1000
_DIGITS = 9


class CommandBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a command; it may be left out."""

    reason: str | None = None


def integer(query: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """Return the parameter as a whole number from ``least`` to ``most``; raises `ApiError` 400 for anything else."""
    text = query.get(name)
    if text is None:
        return default
    # Not int() alone: it takes signs, blanks and underscores, and works long on thousands of digits.
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else -1
    if not least <= number <= most:
        raise bad_request("bad_parameter", f"{name} must be a whole number from {least} to {most}")
    return number


def run_number(query: Mapping[str, str]) -> int | None:
    """Return the run that is asked for, None for the newest."""
    return integer(query, "run", 0, least=1, most=10**_DIGITS) or None


def member(query: Mapping[str, str], name: str, names: Mapping[str, EnumT]) -> EnumT | None:
    """Return the parameter as one of the named values, None if it is not given; raises `ApiError` 400 otherwise."""
    text = query.get(name)
    if text is None:
        return None
    if text not in names:
        raise bad_request("bad_parameter", f"{name} must be one of {', '.join(names)}")
    return names[text]


def check_token(token: SecretStr | None, authorization: str) -> None:
    """Raise `ApiError` 403 when commands are switched off, 401 unless ``authorization`` bears the token."""
    if token is None or not token.get_secret_value():
        raise ApiError(403, "commands_off", "Commands are switched off: set CJ_OPERATOR_TOKEN on every worker.")
    if not bears(token, authorization):
        raise _unauthorized("operator", "wrong_token", authorization)


def check_reader(tokens: Collection[SecretStr], authorization: str) -> None:
    """Raise `ApiError` 403 when there are no tokens to read with, 401 unless ``authorization`` bears one of them."""
    if not tokens:
        message = (
            "Other machines can reach these pages, so reading them needs a token: set CJ_READER_TOKEN on all workers."
        )
        raise ApiError(403, "reading_off", message)
    if not any(bears(token, authorization) for token in tokens):
        raise _unauthorized("reader", "no_reader", authorization)


def bears(token: SecretStr, authorization: str) -> bool:
    """Return whether a header says ``Bearer`` and the token; how long that takes tells nothing of the token."""
    scheme, _, given = authorization.partition(" ")
    matches = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.get_secret_value().encode())
    return scheme.lower() == "bearer" and matches


def _unauthorized(whose: str, code: str, authorization: str) -> ApiError:
    message = f"The {whose} token is {'wrong' if authorization.partition(' ')[2].strip() else 'missing'}."
    advice = "Send the header 'Authorization: Bearer TOKEN'."
    return ApiError(401, code, message, {"WWW-Authenticate": "Bearer"}, advice=advice)


def reason_of(body: bytes) -> str:
    """Return the reason given in the body of a command, empty if there is none; raises `ApiError` 400."""
    if not body.strip():
        return ""
    try:
        reason = msgspec.json.decode(body, type=CommandBody).reason or ""
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request("bad_body", f'The body must be empty or like {{"reason": "..."}}: {error}') from error
    if len(reason) > REASON_LIMIT:
        raise bad_request("bad_body", f"reason has {len(reason)} characters: send at most {REASON_LIMIT}")
    return reason
